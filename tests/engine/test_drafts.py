"""Forced text that is computed before its tokens are certain: fewer steps, and the very same answers."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import msgspec
import pytest
from torch import Tensor

from espalier.engine import Engine, EngineOptions, Output
from espalier.engine.canonical import Canonical
from espalier.engine.guide import MOST_DRAFTED, Draft, Guide
from espalier.engine.loader import Loaded, load
from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.scheduler import Scheduler
from espalier.engine.sequence import Sequence
from espalier.engine.work import logit_rows
from espalier.grammar import AnyConstraint, Json, Literal, Regex, compile_grammar
from tests.engine.test_constrained import PERSON, drive, request, tokens
from tests.engine.test_guide import SCHEMAS
from tests.engine.test_scheduler import limits, sequence, step

OPTIONS = EngineOptions(kv_memory_bytes=8 * 2**20, threads=1, max_context=512, exact=True)
# All rows of a step are drawn in one call.
WHOLE = dataclasses.replace(OPTIONS, sparse_head=False)
TEXTS: dict[str, AnyConstraint] = {
    **{name: Json(schema) for name, schema in SCHEMAS.items()},
    "person": Json(PERSON),
    "pattern": Regex(r"(the answer is [a-z]{1,9}, and that is (right|wrong)\. ){1,3}"),
}


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(OPTIONS)


def said(told: dict[str, list[Output]]) -> dict[str, list[int]]:
    return {name: tokens(outputs) for name, outputs in told.items()}


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "greedy": ({"temperature": 0}, {}),
    "hot": ({"temperature": 1.2}, {"step_tokens": 24, "prefix_cache": False}),
    "penalties": ({"repetition_penalty": 1.3, "top_k": 9}, {"admission": "worst_case"}),
    "static": ({"min_p": 0.05}, {"batching": "static"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_answers_are_the_same_in_fewer_steps(loaded: Loaded, way: str) -> None:
    settings, changes = WAYS[way]
    requests = [
        request(f"{name} {seed}", constraint, 3 + seed, seed=seed, max_tokens=120, **settings)
        for name, constraint in TEXTS.items()
        for seed in range(3)
    ]
    plain, drafting = (
        Engine(dataclasses.replace(OPTIONS, drafts=on, **changes), loaded=loaded, poison_freed=True)
        for on in (False, True)
    )
    faster, slower = drive(drafting, requests), drive(plain, requests)
    assert said(faster) == said(slower)
    stats = drafting.stats()
    # An output is a step of a request.
    spared = sum(map(len, slower.values())) - sum(map(len, faster.values()))
    assert 0 < spared <= stats.confirmed_tokens <= stats.drafted_tokens
    assert not plain.stats().drafted_tokens
    assert stats.generated_tokens == plain.stats().generated_tokens


def test_answers_are_the_same_where_slots_are_short_and_requests_preempted(loaded: Loaded) -> None:
    requests = [
        request(name, constraint, 20, first=300 + at, seed=at, max_tokens=90)
        for at, (name, constraint) in enumerate(TEXTS.items())
    ]
    expected = said(drive(Engine(dataclasses.replace(OPTIONS, drafts=False), loaded=loaded), requests))
    narrow = dataclasses.replace(loaded, fit=dataclasses.replace(loaded.fit, num_slots=150))
    engine = Engine(dataclasses.replace(OPTIONS, step_tokens=20), loaded=narrow, poison_freed=True)
    assert said(drive(engine, requests)) == expected
    assert engine.stats().preemptions and engine.stats().confirmed_tokens


def test_a_next_turn_finds_drafts_that_came_in_the_tree(loaded: Loaded) -> None:
    answers: list[list[int]] = []
    cached: list[int] = []
    for on in (False, True):
        engine = Engine(dataclasses.replace(OPTIONS, drafts=on), loaded=loaded)
        first = request("first", TEXTS["person"], 8, temperature=0)
        turn = tokens(drive(engine, [first])["first"])
        ids = [*first.token_ids, *turn, 7]
        outputs = drive(engine, [msgspec.structs.replace(first, request_id="next", token_ids=ids)])["next"]
        answers.append(tokens(outputs))
        cached.append(outputs[-1].usage.cached_tokens)
    assert answers[0] == answers[1]
    assert cached[1] >= cached[0] > 24


def test_a_stop_string_and_the_limit_end_an_answer_amid_drafts(loaded: Loaded) -> None:
    constraint = Regex(r'("?[a-z]"?: one two three four five six\. )+')
    ways: list[dict[str, Any]] = [{"stop": ("two",)}, {"stop": (" four five",)}, {"max_tokens": 40}, {"min_tokens": 30}]
    requests = [request(str(at), constraint, **{"max_tokens": 60} | way) for at, way in enumerate(ways)]
    told = [drive(Engine(dataclasses.replace(OPTIONS, drafts=on), loaded=loaded), requests) for on in (False, True)]
    assert said(told[0]) == said(told[1])
    for name, outputs in told[0].items():
        one, other = outputs[-1], told[1][name][-1]
        assert (one.finish_reason, one.stop_reason) == (other.finish_reason, other.stop_reason)
        assert "".join(each.text for each in outputs) == "".join(each.text for each in told[1][name])


class Interfering(Sampler):
    """Does something else to what is drawn by a draft: then it is asked a second time in a step."""

    asked = 0

    def sample(
        self, logits_rv: Tensor, sequences: list[Sequence], *args: Any, attempt: int = 0, **more: Any
    ) -> list[Drawn]:
        drawn = super().sample(logits_rv, sequences, *args, attempt=attempt, **more)
        self.asked += not attempt
        if self.asked > 1 and not attempt:
            return self.interfere(drawn)
        return drawn

    def interfere(self, drawn: list[Drawn]) -> list[Drawn]:
        raise RuntimeError("no luck")


class Invalid(Interfering):
    def interfere(self, drawn: list[Drawn]) -> list[Drawn]:
        return [Drawn(0, is_valid=False) for _ in drawn]


def run(engine: Engine, sampler: Interfering) -> dict[str, list[Output]]:
    told: dict[str, list[Output]] = {}
    while engine.has_work():
        sampler.asked = 0
        for output in engine.step().outputs:
            told.setdefault(output.request_id, []).append(output)
        engine.scheduler.check()
    return told


def test_a_failure_behind_drafts_costs_nothing_but_the_drafts(loaded: Loaded) -> None:
    requests = [request(name, constraint, seed=2, max_tokens=90) for name, constraint in TEXTS.items()]
    expected = said(drive(Engine(OPTIONS, loaded=loaded), requests))
    sampler = Interfering(loaded.tokenizer.end_token_ids)
    engine = Engine(WHOLE, loaded=loaded, sampler=sampler)
    for one in requests:
        engine.submit(one)
    assert said(run(engine, sampler)) == expected
    assert engine.stats().failed == 0


def test_logits_that_are_no_numbers_behind_a_draft_end_that_request(loaded: Loaded) -> None:
    sampler = Invalid(loaded.tokenizer.end_token_ids)
    engine = Engine(WHOLE, loaded=loaded, sampler=sampler)
    engine.submit(request("drafts", TEXTS["person"], temperature=0))
    engine.submit(request("free", None, max_tokens=30))
    told = run(engine, sampler)
    assert told["drafts"][-1].error_code == "nan_logits"
    assert [output.finish_reason for output in told["drafts"]].count("error") == 1
    assert told["free"][-1].finish_reason in ("length", "stop")


def test_requests_whose_log_probabilities_are_asked_for_draft_nothing(loaded: Loaded) -> None:
    engine = Engine(OPTIONS, loaded=loaded)
    drive(engine, [request("a", TEXTS["person"], logprobs=2)])
    assert engine.stats().drafted_tokens == 0


def test_a_guide_drafts_what_must_come_and_stays_where_it_is(loaded: Loaded) -> None:
    tokenizer = loaded.tokenizer
    grammar = compile_grammar(Regex(r"one, two[a-z]?; .*"), tokenizer.vocabulary, tokenizer.end_token_ids)
    guide = Guide(grammar, Canonical(tokenizer))
    forced = guide.jump([], 100)
    drafts = guide.draft(forced[-1])
    text = b"".join(tokenizer.token_bytes[token] or b"" for token in [*forced, *(one.token for one in drafts)])
    assert text == b"one, two" and 0 < len(drafts) <= MOST_DRAFTED
    assert guide.draft(forced[-1]) == drafts
    assert Guide(grammar, None).draft(0) == []
    over = Guide(compile_grammar(Literal(b"one"), tokenizer.vocabulary, tokenizer.end_token_ids), Canonical(tokenizer))
    over.jump([], 100)
    assert over.draft(0) == []


def drafted(one: Sequence, *guesses: int) -> Sequence:
    place: Any = None  # nobody asks for it here
    one.draft([Draft(token, place) for token in guesses])
    return one


def test_drafts_take_what_the_budget_and_the_free_slots_leave() -> None:
    scheduler = Scheduler(limits(step_tokens=12, num_slots=64, prefix_cache=False))
    one, other = (drafted(sequence(name, [1, 2, 3], max_tokens=20), *range(50, 65)) for name in "ab")
    scheduler.add(one)
    scheduler.add(other)
    # What is certain comes first: six tokens of prompts.
    plan = scheduler.schedule(0.0)
    assert [(work.certain_end, work.end) for work in plan] == [(3, 9), (3, 3)]
    assert plan[0].drafts == tuple(range(50, 56))
    assert logit_rows(plan).tolist() == [*range(2, 9), 11]
    scheduler.advance(plan)
    assert one.num_computed == 3
    for token in (50, 51, 9):
        one.append(token)
    assert scheduler.confirm(plan[0]) == 2 and one.num_computed == 5
    scheduler.check()
    other.append(9)
    # The slots behind it are its own, and are written again.
    assert one.num_slots == 9
    assert step(scheduler) == [("a", 5, 6), ("b", 3, 4)]
    # Where no slots are free, those that it has must do.
    scheduler.slots.take(scheduler.slots.num_free - len(scheduler.running))
    drafted(one, *range(60, 90))
    work, _ = scheduler.schedule(0.0)
    assert work.end == one.num_slots == 9


@pytest.mark.parametrize("seed", range(6))
def test_slots_are_neither_lost_nor_shared_whatever_is_drafted_and_comes(seed: int) -> None:
    source = random.Random(seed)
    scheduler = Scheduler(limits(num_slots=48, step_tokens=source.choice([6, 12, 40]), prefix_cache=bool(seed % 2)))
    waiting = [sequence(str(at), source.choices(range(9), k=source.randint(1, 12)), 14) for at in range(30)]
    answers: dict[str, list[int]] = {}
    for at in range(3_000):
        if waiting and source.random() < 0.3:
            scheduler.add(waiting.pop())
        plan = scheduler.schedule(float(at))
        scheduler.advance(plan)
        for work in plan:
            one, is_wanted = work.sequence, work.wants_logits
            while is_wanted:
                came = one.length - work.certain_end
                guess = work.drafts[came] if came < len(work.drafts) else 7
                one.append(guess if source.random() < 0.8 else 8)
                guesses = source.choices(range(9), k=source.randint(0, one.max_len - one.length))
                drafted(one, *guesses[:-1])
                is_wanted = scheduler.confirm(work) == came + 1 and one.length < one.max_len
            if one.row >= 0 and one.length == one.max_len:
                answers[one.request_id] = one.ids(0, one.length).tolist()
                scheduler.finish(one)
            assert one.row < 0 or one.num_computed < one.length
            scheduler.check()
        if scheduler.is_idle() and not waiting:
            break
    assert len(answers) == 30 and scheduler.totals.confirmed_tokens
