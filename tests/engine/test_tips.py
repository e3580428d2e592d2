"""Sessions' tips in the scheduler: what is held while a tool runs, and how a request that needs the room gets it."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.engine.messages import Generate, Hold, SamplingParams
from espalier.engine.scheduler import Limits, Scheduler
from espalier.engine.sequence import Sequence
from espalier.engine.tips import GRACE_S
from espalier.radix import RecomputeCost
from espalier.radix.aside import LAPSES_S
from espalier.radix.lease import STINT

SLOW = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0)
QUICK = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


def a_scheduler(**changes: object) -> Scheduler:
    chosen: dict[str, object] = {
        "num_slots": 100,
        "max_context": 100,
        "max_running": 4,
        "step_tokens": 64,
        "lease_tokens": 50,
    }
    return Scheduler(Limits(**(chosen | changes)))  # type: ignore[arg-type]


def a_sequence(
    name: str, prompt: range, *, session: str = "", tenant: str = "", now_s: float = 0.0, is_group: bool = False
) -> Sequence:
    params = SamplingParams(max_tokens=1)
    request = Generate(name, list(prompt), params, tenant=tenant, session=session, is_group=is_group)
    return Sequence(request, max_len=len(prompt) + 1, seed=0, arrival=0, now_s=now_s)


def turn(
    scheduler: Scheduler, name: str, prompt: range, now_s: float, *, session: str = "", is_group: bool = False
) -> Sequence:
    """One request from its arrival to its end; its answer is one token."""
    sequence = a_sequence(name, prompt, session=session, now_s=now_s, is_group=is_group)
    scheduler.add(sequence)
    run(scheduler, now_s)
    assert sequence.length == sequence.max_len
    return sequence


def run(scheduler: Scheduler, now_s: float, steps: int = 20) -> None:
    for _ in range(steps):
        plan = scheduler.schedule(now_s)
        scheduler.advance(plan)
        for work in plan:
            if work.wants_logits:
                work.sequence.append(7)
                scheduler.finish(work.sequence)
        scheduler.check()
        if scheduler.is_idle():
            return


def test_what_a_session_holds_is_there_for_its_next_turn_whatever_others_ask() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="s")
    assert scheduler.tips.hold(Hold("s", QUICK, ttl_s=60), 0) is not None
    for number in range(5):
        turn(scheduler, f"other {number}", range(1000 * number + 100, 1000 * number + 145), 1 + 0.1 * number)
    assert turn(scheduler, "b", range(45), 3, session="s").cached_tokens == 40


def test_without_leases_others_take_its_place() -> None:
    scheduler = a_scheduler(lease_tokens=0)
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.tips.hold(Hold("s", QUICK, ttl_s=60), 0)
    for number in range(5):
        turn(scheduler, f"other {number}", range(1000 * number + 100, 1000 * number + 145), 1 + 0.1 * number)
    late = turn(scheduler, "b", range(45), 3, session="s")
    assert (late.cached_tokens, late.evicted_tokens) == (0, 40)


def test_a_tip_is_held_for_a_grace_time_after_its_turn() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="s")
    assert scheduler.tips.num_leases == 1
    scheduler.schedule(GRACE_S)
    assert scheduler.tips.num_leases == 0


def test_a_lease_ends_when_its_tool_takes_far_longer_than_any_did() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.tips.hold(Hold("s", QUICK, ttl_s=600), 0)
    scheduler.schedule(QUICK[-1])
    assert scheduler.tips.num_leases == 1
    scheduler.schedule(2 * QUICK[-1])
    assert scheduler.tips.num_leases == 0


def test_a_lease_does_not_end_while_its_sessions_next_turn_waits() -> None:
    scheduler = a_scheduler(max_running=1)
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.add(a_sequence("long", range(500, 550)))
    scheduler.schedule(1)
    scheduler.add(a_sequence("b", range(45), session="s", now_s=1))
    scheduler.schedule(1000)
    assert scheduler.tips.num_leases == 1


def test_a_request_waits_for_leased_slots_and_lets_others_pass_and_then_gets_them() -> None:
    scheduler = a_scheduler(patience_s=5.0)
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.tips.hold(Hold("s", QUICK, ttl_s=60), 0)
    scheduler.add(a_sequence("runs", range(200, 230), now_s=0))
    scheduler.schedule(0)
    large = a_sequence("large", range(300, 350), now_s=0)
    small = a_sequence("small", range(400, 410), now_s=0)
    scheduler.add(large)
    scheduler.add(small)
    scheduler.schedule(1)
    assert (large.row, small.row >= 0) == (-1, True)
    scheduler.schedule(6)
    assert large.row >= 0
    assert scheduler.tips.num_leases == 0


def a_busy_scheduler(num_slots: int) -> Scheduler:
    """One in which a request always runs, so that others have to wait for room."""
    scheduler = a_scheduler(num_slots=num_slots, lease_tokens=num_slots, patience_s=1000.0)
    runs = a_sequence("runs", range(900, 902))
    runs.max_len = 100
    scheduler.add(runs)
    scheduler.advance(scheduler.schedule(0))
    return scheduler


def test_a_session_that_was_put_out_does_not_come_in_where_others_are_to_grow() -> None:
    scheduler = a_busy_scheduler(94)
    for session, length in (("r", 20), ("s", 35), ("t", 35)):
        turn(scheduler, session, range(100 * ord(session), 100 * ord(session) + length), 0, session=session)
        scheduler.tips.hold(Hold(session, SLOW if session == "t" else QUICK, ttl_s=600), 0)
    begin = 100 * ord("s")
    turn(scheduler, "grows", range(begin, begin + 41), 1, session="s")
    scheduler.tips.drop("r")
    assert scheduler.tips.aside("", 1) == 35 - 6
    late = a_sequence("late", range(100 * ord("t"), 100 * ord("t") + 36), session="t", now_s=1)
    new = a_sequence("new", range(36), session="u", now_s=1)
    scheduler.add(late)
    scheduler.add(new)
    scheduler.schedule(1)
    assert (late.row, late.evicted_tokens) == (-1, 35)
    assert new.row >= 0
    scheduler.finish(new)
    scheduler.schedule(1 + LAPSES_S)
    assert late.row >= 0


@pytest.mark.parametrize("has_had_it", [False, True])
def test_a_session_that_was_put_out_comes_in_for_one_that_has_had_its_stint(has_had_it: bool) -> None:
    scheduler = a_busy_scheduler(114)
    for number in range(STINT if has_had_it else STINT - 1):
        turn(scheduler, f"r {number}", range(40), 0, session="r")
    scheduler.tips.hold(Hold("r", QUICK, ttl_s=600), 0)
    turn(scheduler, "t", range(200, 235), 0, session="t")
    turn(scheduler, "s", range(100, 135), 0, session="s")
    scheduler.tips.hold(Hold("s", QUICK, ttl_s=600), 0)
    turn(scheduler, "grows", range(100, 141), GRACE_S + 1, session="s")
    late = a_sequence("late", range(200, 236), session="t", now_s=GRACE_S + 1)
    scheduler.add(late)
    scheduler.schedule(GRACE_S + 1)
    assert late.evicted_tokens > 0
    assert (late.row >= 0) == has_had_it
    assert scheduler.tips.num_leases == (1 if has_had_it else 2)


def test_when_nothing_runs_a_request_does_not_wait_for_leases() -> None:
    scheduler = a_scheduler(patience_s=1000.0)
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.tips.hold(Hold("s", QUICK, ttl_s=600), 0)
    assert turn(scheduler, "large", range(100, 190), 0.1).cached_tokens == 0


def test_an_aborted_turn_leaves_the_tip_where_it_was() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="s")
    half = a_sequence("b", range(60), session="s", now_s=1)
    scheduler.add(half)
    scheduler.schedule(1)
    scheduler.finish(half, is_turn=False)
    for number in range(5):
        turn(scheduler, f"other {number}", range(1000 * number + 100, 1000 * number + 145), 1.5)
    assert turn(scheduler, "c", range(45), 1.6, session="s").cached_tokens == 40


def test_what_a_rolled_back_turn_left_goes_first() -> None:
    scheduler = a_scheduler(lease_tokens=0)
    turn(scheduler, "other", range(500, 520), 0)
    turn(scheduler, "a", range(20), 1, session="s")
    turn(scheduler, "b", range(70), 2, session="s")
    turn(scheduler, "c", range(20), 3, session="s")
    turn(scheduler, "d", range(900, 920), 4)
    assert turn(scheduler, "other again", range(500, 520), 6).cached_tokens == 19


@pytest.mark.parametrize("is_group", [False, True])
def test_a_session_leaves_what_lies_beside_its_tip_and_a_group_does_not(is_group: bool) -> None:
    scheduler = a_scheduler(num_slots=160, lease_tokens=0)
    turn(scheduler, "other", range(500, 580), 0)
    turn(scheduler, "a", range(30), 1, session="s", is_group=is_group)
    turn(scheduler, "b", range(100, 130), 2, session="s", is_group=is_group)
    turn(scheduler, "wants room", range(900, 960), 3)
    assert (turn(scheduler, "a again", range(30), 4).cached_tokens == 29) == is_group


def test_the_newest_tip_of_a_group_is_held() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="g", is_group=True)
    turn(scheduler, "b", range(20, 60), 0, session="g", is_group=True)
    assert scheduler.tips.num_leases == 1
    scheduler.tips.hold(Hold("g", QUICK, ttl_s=60), 0)
    for number in range(5):
        turn(scheduler, f"other {number}", range(1000 * number + 100, 1000 * number + 145), 1)
    assert turn(scheduler, "c", range(20, 65), 2, session="g", is_group=True).cached_tokens == 40


def test_a_fork_keeps_what_its_other_leaves() -> None:
    scheduler = a_scheduler()
    turn(scheduler, "a", range(40), 0, session="s")
    scheduler.tips.fork("s", "f")
    scheduler.tips.drop("s")
    scheduler.tips.hold(Hold("f", QUICK, ttl_s=60), 0)
    for number in range(5):
        turn(scheduler, f"other {number}", range(1000 * number + 100, 1000 * number + 145), 1)
    assert turn(scheduler, "b", range(45), 2, session="f").cached_tokens == 40


def test_room_has_a_price_once_others_want_back_what_was_evicted() -> None:
    scheduler = a_scheduler(lease_tokens=50)
    scheduler.tips.cost = RecomputeCost(0.0, 0.1, 0.0)
    assert scheduler.tips.rent(0).device == 0
    for number in range(12):
        turn(scheduler, str(number), range(1000 * (number % 3), 1000 * (number % 3) + 60), 1 + number)
    assert scheduler.tips.rent(13).device > 0
    assert scheduler.tips.rent(500).device < scheduler.tips.rent(13).device / 100
    turn(scheduler, "a", range(5000, 5040), 13, session="s")
    decision = scheduler.tips.hold(Hold("s", (1e4,) * 6, ttl_s=1e6), 13)
    assert decision is not None
    assert decision.choice == "drop"
    assert scheduler.tips.num_leases == 0
    scheduler.tips.hold(Hold("s", (1e4,) * 6, ttl_s=50, at_least_s=100), 13)
    scheduler.tips.expire(62)
    assert scheduler.tips.num_leases == 1
    scheduler.tips.expire(63)
    assert scheduler.tips.num_leases == 0


@pytest.mark.parametrize("seed", range(3))
def test_no_slot_is_lost_and_nobody_is_stuck_under_random_sessions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scheduler = a_scheduler(patience_s=3.0)
    tenants = ("x", "y")
    asked = answered = 0
    for step in range(400):
        now = step * 0.25
        if rng.random() < 0.3 and len(scheduler.waiting) < 10:
            session = int(rng.integers(8))
            prompt = range(100 * session, 100 * session + int(rng.integers(2, 60)))
            scheduler.add(a_sequence(str(step), prompt, session=str(session), tenant=tenants[session % 2], now_s=now))
            asked += 1
        plan = scheduler.schedule(now)
        scheduler.advance(plan)
        for work in plan:
            if work.wants_logits:
                work.sequence.append(7)
                scheduler.finish(work.sequence, keep=rng.random() < 0.9)
                answered += 1
                session_name = work.sequence.request.session
                scheduler.tips.hold(Hold(session_name, QUICK, int(rng.integers(2)), 20), now)
        scheduler.check()
    for step in range(60):
        run(scheduler, 100 + step, steps=1)
    assert scheduler.is_idle()
    assert asked > 50


@pytest.mark.parametrize("flood", [0, 3])
def test_a_tenants_flood_does_not_cool_another(flood: int) -> None:
    scheduler = a_scheduler(num_slots=240, max_running=8, lease_tokens=0)
    hit = asked = 0
    for number in range(60):
        now = float(number)
        for other in range(flood):
            begin = 10_000 + 1000 * (flood * number + other)
            scheduler.add(a_sequence(f"y{number}-{other}", range(begin, begin + 60), tenant="y", now_s=now))
        mine = a_sequence(f"x{number}", range(100 * (number % 4), 100 * (number % 4) + 25), tenant="x", now_s=now)
        scheduler.add(mine)
        run(scheduler, now)
        if number >= 8:
            hit, asked = hit + mine.cached_tokens, asked + mine.prompt_len - 1
    assert hit >= 0.9 * asked
