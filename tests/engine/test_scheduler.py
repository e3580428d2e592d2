"""The scheduler by hand-written traces and by random ones, slots counted after every step."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.engine.messages import Generate, SamplingParams
from espalier.engine.scheduler import Limits, Scheduler, Work
from espalier.engine.sequence import Sequence


def sequence(name: str, prompt: list[int], max_tokens: int = 4, *, tenant: str = "") -> Sequence:
    request = Generate(name, prompt, SamplingParams(max_tokens=max_tokens), tenant=tenant)
    return Sequence(request, max_len=len(prompt) + max_tokens, seed=0, arrival=0, now_s=0.0)


def limits(**changes: object) -> Limits:
    chosen: dict[str, object] = {"num_slots": 100, "max_context": 64, "max_running": 4, "step_tokens": 8}
    return Limits(**(chosen | changes))  # type: ignore[arg-type]


def shown(plan: list[Work]) -> list[tuple[str, int, int]]:
    return [(work.sequence.request_id, work.begin, work.end) for work in plan]


def step(scheduler: Scheduler, token: int = 7) -> list[tuple[str, int, int]]:
    """Schedule and compute one step; every wanted token is `token`, and who has all of theirs is done."""
    plan = scheduler.schedule(0.0)
    scheduler.advance(plan)
    for work in plan:
        if work.wants_logits:
            work.sequence.append(token)
            if work.sequence.length == work.sequence.max_len:
                scheduler.finish(work.sequence)
    scheduler.check()
    return shown(plan)


def test_a_prompt_is_computed_in_chunks_of_the_budget() -> None:
    scheduler = Scheduler(limits(step_tokens=16))
    scheduler.add(sequence("a", list(range(20))))
    assert step(scheduler) == [("a", 0, 16)]
    assert step(scheduler) == [("a", 16, 20)]
    assert step(scheduler) == [("a", 20, 21)]


def test_decode_tokens_come_before_prompts() -> None:
    scheduler = Scheduler(limits(step_tokens=20))
    scheduler.add(sequence("a", [1, 2]))
    step(scheduler)
    scheduler.add(sequence("b", list(range(30, 60))))
    assert step(scheduler) == [("a", 2, 3), ("b", 0, 19)]


def test_a_prompt_that_is_through_at_once_goes_ahead_of_a_longer_one_that_is_under_way() -> None:
    scheduler = Scheduler(limits(step_tokens=16))
    scheduler.add(sequence("long", list(range(100, 160))))
    assert step(scheduler) == [("long", 0, 16)]
    scheduler.add(sequence("short", [1, 2, 3]))
    scheduler.add(sequence("not so short", [11, 12, 13, 14, 15, 16]))
    assert step(scheduler) == [("short", 0, 3), ("long", 16, 29)]


def test_short_prompts_take_no_more_than_half_a_step_from_a_longer_one() -> None:
    scheduler = Scheduler(limits(step_tokens=16, max_running=20))
    scheduler.add(sequence("long", list(range(100, 160))))
    step(scheduler)
    for number in range(10):
        scheduler.add(sequence(f"short {number}", [1000 * number + 1, 2, 3], max_tokens=1))
    assert step(scheduler) == [("short 0", 0, 3), ("short 1", 0, 3), ("long", 16, 26)]
    assert step(scheduler) == [("short 2", 0, 3), ("short 3", 0, 3), ("long", 26, 36)]


def test_a_short_prompt_that_waits_for_the_longer_ones_prefix_does_not_go_ahead_of_it() -> None:
    scheduler = Scheduler(limits())
    shared = list(range(40))
    scheduler.add(sequence("long", shared))
    step(scheduler)
    scheduler.add(sequence("same", shared))
    assert [name for name, _, _ in step(scheduler)] == ["long"]


def test_nobody_goes_ahead_of_a_request_that_has_waited_too_long() -> None:
    scheduler = Scheduler(limits(num_slots=70, step_tokens=24, max_running=9, patience_s=1.0))
    scheduler.add(sequence("long", list(range(100, 160))))
    scheduler.advance(scheduler.schedule(0.0))
    waits = sequence("waits", list(range(200, 250)))
    scheduler.add(waits)
    scheduler.add(sequence("short", [1, 2, 3]))
    assert shown(scheduler.schedule(0.5)) == [("short", 0, 3), ("long", 24, 45)]
    scheduler.add(sequence("another", [4, 5, 6]))
    names = [work.sequence.request_id for work in scheduler.schedule(1.5)]
    assert "another" not in names and waits.row < 0


@pytest.mark.parametrize("num_slots", range(118, 130))
def test_who_is_preempted_and_started_again_in_one_step_is_in_its_plan_once(num_slots: int) -> None:
    scheduler = Scheduler(limits(num_slots=num_slots, max_context=100, step_tokens=24, max_running=10))
    for number in range(6):
        scheduler.add(sequence(f"decodes {number}", [100 * number + 1000, 7], max_tokens=90))
    planned = [step(scheduler), step(scheduler)]
    scheduler.add(sequence("long", list(range(3000, 3080)), max_tokens=5))
    planned.append(step(scheduler))
    scheduler.add(sequence("short", [5000, 5001, 5002], max_tokens=50))
    planned += [step(scheduler) for _ in range(12)]
    for plan in planned:
        assert len({name for name, _, _ in plan}) == len(plan)


def force(scheduler: Scheduler, name: str, count: int) -> None:
    (one,) = [running for running in scheduler.running if running.request_id == name]
    for token in range(count):
        one.append(100 + token, is_drawn=False)


def test_forced_tokens_share_what_decode_tokens_leave_of_the_budget() -> None:
    scheduler = Scheduler(limits(step_tokens=8))
    for name in "abc":
        scheduler.add(sequence(name, [ord(name), 2], max_tokens=30))
    step(scheduler)
    force(scheduler, "a", 7)
    force(scheduler, "b", 3)
    assert step(scheduler) == [("a", 2, 8), ("b", 2, 3), ("c", 2, 3)]
    # Neither has its logits yet; both go on where they are.
    assert step(scheduler) == [("a", 8, 10), ("b", 3, 6), ("c", 3, 4)]
    assert step(scheduler) == [("a", 10, 11), ("b", 6, 7), ("c", 4, 5)]


def test_who_is_preempted_before_its_forced_tokens_are_computed_goes_on_with_them() -> None:
    scheduler = Scheduler(limits(step_tokens=8, num_slots=32, prefix_cache=False))
    scheduler.add(sequence("a", list(range(6)), max_tokens=20))
    scheduler.add(sequence("b", list(range(30, 36)), max_tokens=20))
    while len(scheduler.running) < 2 or not all(one.is_decoding for one in scheduler.running):
        step(scheduler)
    force(scheduler, "b", 9)
    tokens = next(one for one in scheduler.running if one.request_id == "b")
    force(scheduler, "a", 9)
    while tokens.row >= 0:
        step(scheduler)
    kept = tokens.ids(0, tokens.length).tolist()
    assert not tokens.is_decoding
    for _ in range(60):
        step(scheduler)
    assert tokens.ids(0, len(kept)).tolist() == kept
    assert tokens.length == tokens.max_len


def test_a_shared_prefix_is_computed_once_also_while_it_is_being_computed() -> None:
    scheduler = Scheduler(limits(step_tokens=24))
    shared = list(range(40))
    scheduler.add(sequence("a", [*shared, 50]))
    scheduler.add(sequence("b", [*shared, 51]))
    scheduler.add(sequence("c", [90, 91]))
    assert step(scheduler) == [("a", 0, 24)]
    assert step(scheduler) == [("c", 0, 2), ("a", 24, 41)]
    assert ("b", 40, 41) in step(scheduler)
    assert scheduler.totals.cached_tokens == 40


def test_tenants_do_not_share_prefixes() -> None:
    scheduler = Scheduler(limits(step_tokens=64))
    scheduler.add(sequence("a", list(range(20)), tenant="x"))
    step(scheduler)
    scheduler.add(sequence("b", list(range(20)), tenant="y"))
    assert ("b", 0, 20) in step(scheduler)


def test_a_follower_goes_on_when_its_leader_is_aborted() -> None:
    scheduler = Scheduler(limits(step_tokens=16))
    leader = sequence("a", [*range(40), 50])
    scheduler.add(leader)
    scheduler.add(sequence("b", [*range(40), 51]))
    step(scheduler)
    scheduler.finish(leader)
    assert step(scheduler) == [("b", 16, 32)]


def test_the_last_token_of_a_prompt_known_whole_is_computed() -> None:
    scheduler = Scheduler(limits(step_tokens=32))
    scheduler.add(sequence("a", list(range(10)), 1))
    step(scheduler)
    scheduler.add(sequence("b", list(range(10)), 1))
    assert step(scheduler) == [("b", 9, 10)]


def test_without_the_prefix_cache_everything_is_computed() -> None:
    scheduler = Scheduler(limits(step_tokens=32, prefix_cache=False))
    for name in "ab":
        scheduler.add(sequence(name, list(range(10)), 1))
        assert step(scheduler) == [(name, 0, 10)]
    assert scheduler.slots.num_free == 100


def test_the_youngest_is_preempted_and_comes_back() -> None:
    scheduler = Scheduler(limits(num_slots=30, step_tokens=64))
    for name, first in (("a", 10), ("b", 30)):
        scheduler.add(sequence(name, list(range(first, first + 12)), 10))
    done = [step(scheduler) for _ in range(40)]
    assert scheduler.totals.preemptions >= 1
    assert scheduler.is_idle()
    preempted = next(index for index, plan in enumerate(done) if [name for name, _, _ in plan] == ["a"])
    assert "b" in {name for plan in done[preempted:] for name, _, _ in plan}


def test_worst_case_admission_never_preempts() -> None:
    scheduler = Scheduler(limits(num_slots=30, step_tokens=64, admission="worst_case"))
    for name, first in (("a", 10), ("b", 30)):
        scheduler.add(sequence(name, list(range(first, first + 12)), 10))
    assert step(scheduler) == [("a", 0, 12)]
    while not scheduler.is_idle():
        step(scheduler)
    assert scheduler.totals.preemptions == 0


def test_a_static_batch_takes_nobody_in_until_it_is_done() -> None:
    scheduler = Scheduler(limits(step_tokens=64, batching="static"))
    scheduler.add(sequence("a", [1, 2], 3))
    step(scheduler)
    scheduler.add(sequence("b", [3, 4], 1))
    assert step(scheduler) == [("a", 2, 3)]
    assert step(scheduler) == [("a", 3, 4)]
    assert step(scheduler) == [("b", 0, 2)]


def test_a_static_batch_is_made_up_in_as_many_steps_as_its_prompts_need() -> None:
    scheduler = Scheduler(limits(step_tokens=16, max_running=3, batching="static"))
    for number, name in enumerate("abcd"):
        scheduler.add(sequence(name, list(range(20 * number, 20 * number + 10)), 3 if name == "a" else 9))
    assert step(scheduler) == [("a", 0, 10), ("b", 0, 6)]
    assert step(scheduler) == [("a", 10, 11), ("b", 6, 10), ("c", 0, 10)]
    # "a" is done, and its place stays empty.
    later = [name for _ in range(12) for name, _, _ in step(scheduler)]
    assert later.index("d") > max(at for at, name in enumerate(later) if name in "bc")


def test_what_failed_is_not_used_again() -> None:
    scheduler = Scheduler(limits(step_tokens=64))
    broken = sequence("a", list(range(20)))
    scheduler.add(broken)
    scheduler.advance(scheduler.schedule(0.0))
    scheduler.finish(broken, keep=False)
    scheduler.check()
    scheduler.add(sequence("b", list(range(20))))
    assert step(scheduler) == [("b", 0, 20)]


@pytest.mark.parametrize("admission", ["preempt", "worst_case"])
@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_random_traces_end_and_lose_no_slot(seed: int, prefix_cache: bool, admission: str) -> None:
    rng = np.random.default_rng(seed)
    scheduler = Scheduler(
        limits(num_slots=70, step_tokens=int(rng.integers(1, 30)), prefix_cache=prefix_cache, admission=admission)
    )
    shared = rng.integers(0, 4, 30).tolist()
    live: list[Sequence] = []
    computed: dict[str, int] = {}
    for number in range(400):
        if number < 200 and rng.random() < 0.3:
            prompt = shared[: rng.integers(0, 30)] + rng.integers(0, 4, rng.integers(1, 20)).tolist()
            live.append(sequence(str(number), prompt, int(rng.integers(1, 14))))
            scheduler.add(live[-1])
        if live and rng.random() < 0.03:
            scheduler.finish(live.pop(int(rng.integers(len(live)))))
        plan = scheduler.schedule(0.0)
        names = [work.sequence.request_id for work in plan]
        assert len(set(names)) == len(names)
        prompts = sum(work.end - work.begin for work in plan if not work.sequence.is_decoding)
        assert prompts <= max(scheduler.limits.step_tokens, 16)
        scheduler.advance(plan)
        for work in plan:
            computed[work.sequence.request_id] = computed.get(work.sequence.request_id, 0) + 1
            if work.wants_logits:
                work.sequence.append(int(rng.integers(4)))
                if work.sequence.length == work.sequence.max_len:
                    scheduler.finish(work.sequence)
                    live.remove(work.sequence)
        scheduler.check()
    while not scheduler.is_idle():
        step(scheduler)
    assert scheduler.slots.num_free + scheduler.tree.num_evictable == 70


def test_slots_of_next_tokens_are_reserved_where_there_are_enough() -> None:
    scheduler = Scheduler(limits(num_slots=11))
    for name in "ab":
        scheduler.add(sequence(name, [ord(name)] * 3))
    for free, own in ((5, [3, 3]), (1, [5, 5]), (1, [5, 5])):  # the last time, one slot is not enough for both
        plan = scheduler.schedule(0.0)
        scheduler.reserve()
        scheduler.reserve()  # those that have theirs take no other
        scheduler.check()
        assert (scheduler.slots.num_free, [one.num_slots for one in scheduler.running]) == (free, own)
        scheduler.advance(plan)
        for work in plan:
            work.sequence.append(7)
    assert shown(plan) == [("a", 4, 5), ("b", 4, 5)]


def test_nothing_is_reserved_past_the_end_of_an_answer() -> None:
    scheduler = Scheduler(limits())
    scheduler.add(sequence("a", [1, 2, 3], 2))
    step(scheduler)
    scheduler.schedule(0.0)
    scheduler.reserve()
    scheduler.reserve()
    assert scheduler.running[0].num_slots == scheduler.running[0].max_len == 5


def test_those_that_grow_by_one_and_by_several_get_slots_together() -> None:
    scheduler = Scheduler(limits(step_tokens=32))
    for name in "abc":
        scheduler.add(sequence(name, [ord(name)] * 3, 12))
    step(scheduler)
    for token in (1, 2, 3):
        scheduler.running[1].append(token, is_drawn=False)
    assert shown(scheduler.schedule(0.0)) == [("a", 3, 4), ("b", 3, 7), ("c", 3, 4)]
    scheduler.check()
    table = scheduler.placement.table
    assert len({int(slot) for one in scheduler.running for slot in table[one.row, : one.num_slots]}) == 4 + 7 + 4
