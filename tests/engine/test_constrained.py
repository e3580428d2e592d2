"""Constrained answers through the whole engine: valid whatever is drawn, and the same whatever shares the batch."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray

from espalier.engine import Engine, EngineOptions, Generate, Output, SamplingParams
from espalier.engine.canonical import Canonical
from espalier.engine.errors import RequestError
from espalier.engine.guide import Guide
from espalier.engine.loader import Loaded, load
from espalier.engine.messages import PartEnded, PartText
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.runner import Runner
from espalier.grammar import AnyConstraint, Choice, Json, Literal, Regex, Sequence, compile_grammar
from tests.engine.test_guide import SCHEMAS

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["customer", "supplier"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
BUNDLED = EngineOptions(kv_memory_bytes=8 * 2**20, threads=1, max_context=512)


@pytest.fixture(scope="module")
def bundled() -> Loaded:
    return load(BUNDLED)


@pytest.fixture(scope="module")
def exact() -> tuple[EngineOptions, Loaded]:
    options = dataclasses.replace(BUNDLED, exact=True)
    return options, load(options)


def drive(engine: Engine, requests: list[Generate]) -> dict[str, list[Output]]:
    for request in requests:
        engine.submit(request)
    told: dict[str, list[Output]] = {}
    while engine.has_work():
        for output in engine.step().outputs:
            told.setdefault(output.request_id, []).append(output)
        engine.scheduler.check()
    return told


def text(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs)


def tokens(outputs: list[Output]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def request(name: str, constraint: AnyConstraint | None, prompt: int = 3, first: int = 300, **params: Any) -> Generate:
    settings = {"temperature": 1.5, "seed": 1, "max_tokens": 200} | params
    return Generate(name, list(range(first, first + prompt)), SamplingParams(constraint=constraint, **settings))


def shortest(loaded: Loaded, constraint: AnyConstraint) -> int:
    engine = Engine(BUNDLED, loaded=loaded)
    with pytest.raises(RequestError, match=r"takes (\d+) tokens") as refused:
        engine.submit(request("short", constraint, max_tokens=1))
    assert refused.value.param == "max_tokens"
    return int(str(refused.value).split("takes ")[1].split(" ")[0])


@pytest.mark.parametrize("changes", [{}, {"jump_forward": False, "sparse_head": False, "mask_cache": False}])
def test_hot_answers_are_valid_whatever_their_budget(bundled: Loaded, changes: dict[str, Any]) -> None:
    engine, source = Engine(dataclasses.replace(BUNDLED, **changes), loaded=bundled), random.Random(3)
    requests, schemas = [], {}
    for at in range(24):
        name = source.choice(list(SCHEMAS))
        constraint = Json(SCHEMAS[name])
        low = shortest(bundled, constraint)
        schemas[str(at)] = SCHEMAS[name]
        budget = source.randint(low, low + 60)
        requests.append(request(str(at), constraint, source.randint(1, 20), seed=at, max_tokens=budget))
    told = drive(engine, requests)
    for one in requests:
        outputs = told[one.request_id]
        jsonschema.validate(json.loads(text(outputs)), schemas[one.request_id], jsonschema.Draft202012Validator)
        last = outputs[-1]
        assert last.finish_reason == ("length" if last.closed_by_budget else "stop")
        assert one.params.max_tokens is not None
        assert last.usage.completion_tokens == len(tokens(outputs)) <= one.params.max_tokens
    assert any(told[name][-1].closed_by_budget for name in told)
    assert (engine.stats().forced_tokens > 0) == changes.get("jump_forward", True)


def test_an_answer_is_the_same_alone_in_a_batch_and_through_preemption(exact: tuple[EngineOptions, Loaded]) -> None:
    options, loaded = exact
    names = [*SCHEMAS, None, "person"]
    constraints = {name: None if name is None else Json(SCHEMAS.get(name, PERSON)) for name in names}
    requests = [
        request(str(name), constraint, 5 + at, seed=at, max_tokens=60)
        for at, (name, constraint) in enumerate(constraints.items())
    ]
    alone = {one.request_id: tokens(drive(Engine(options, loaded=loaded), [one])[one.request_id]) for one in requests}
    together = drive(Engine(options, loaded=loaded), requests)
    assert {name: tokens(outputs) for name, outputs in together.items()} == alone
    narrow = dataclasses.replace(loaded, fit=dataclasses.replace(loaded.fit, num_slots=150))
    engine = Engine(dataclasses.replace(options, step_tokens=16), loaded=narrow)
    assert {name: tokens(outputs) for name, outputs in drive(engine, requests).items()} == alone
    assert engine.stats().preemptions > 0


def test_the_sparse_head_and_kept_masks_change_nothing(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path, dataclasses.replace(SHAPES["tiny"], vocab=32768, hidden=256, heads=8))
    options = EngineOptions(model=str(folder), kv_memory_bytes=4 * 2**20, threads=1)
    loaded = load(options)
    requests = [request(str(at), Json(PERSON), 3 + at, seed=at, max_tokens=80) for at in range(6)]
    said, sparse = [], []
    ways: tuple[dict[str, Any], ...] = ({}, {"sparse_head": False}, {"mask_cache": False})
    for changes in ways:
        engine = Engine(dataclasses.replace(options, **changes), loaded=loaded)
        said.append({name: tokens(outputs) for name, outputs in drive(engine, requests).items()})
        sparse.append(engine.stats().sparse_rows)
    assert said[0] == said[1] == said[2]
    assert (sparse[0] > 0, sparse[1]) == (True, 0)


def test_a_device_that_runs_ahead_computes_before_masks_are_made(
    exact: tuple[EngineOptions, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, loaded = exact
    requests = [request(str(at), Json(PERSON) if at else None, 3 + at, seed=at, max_tokens=40) for at in range(4)]
    expected = {name: tokens(outputs) for name, outputs in drive(Engine(options, loaded=loaded), requests).items()}
    done: list[str] = []

    def noting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            done.append(name)
            return method(*args)

        return noted

    monkeypatch.setattr(Runner, "hidden", noting("computed", Runner.hidden))
    monkeypatch.setattr(Runner, "logits", noting("computed", Runner.logits))
    monkeypatch.setattr(Guide, "few", noting("asked", Guide.few))
    monkeypatch.setattr(Guide, "fill", noting("asked", Guide.fill))
    engine = Engine(options, loaded=loaded, runs_ahead=True)
    for one in requests:
        engine.submit(one)
    done.clear()
    asked = 0
    told: dict[str, list[int]] = {one.request_id: [] for one in requests}
    while engine.has_work():
        for output in engine.step().outputs:
            told[output.request_id] += output.token_ids
        # The next step is under way when this one is told, and nobody has asked for its masks yet.
        assert done[0] == "computed"
        assert done[-1] == "computed" or not engine.has_work()
        asked += done.count("asked")
        done[:] = done[-1:]
    assert asked
    assert told == expected


def test_jumping_says_what_greedy_steps_say(
    exact: tuple[EngineOptions, Loaded], record_property: Callable[[str, object], None]
) -> None:
    # Where the model's own choice of tokens for what is forced is the tokenizer's, the text is the same.
    options, loaded = exact
    constraints = [Json(schema) for schema in (*SCHEMAS.values(), PERSON)]
    requests = [
        request(f"{at} {prompt}", constraint, prompt, temperature=0, max_tokens=100)
        for at, constraint in enumerate(constraints)
        for prompt in (4, 9, 14)
    ]
    stepwise = drive(Engine(dataclasses.replace(options, jump_forward=False), loaded=loaded), requests)
    jumping = drive(Engine(options, loaded=loaded), requests)
    is_canonical = {one.request_id: is_written_as_forced(loaded, one, stepwise[one.request_id]) for one in requests}
    for name in filter(is_canonical.get, stepwise):
        assert text(jumping[name]) == text(stepwise[name])
    share = sum(is_canonical.values()) / len(requests)
    assert share >= 0.6
    record_property("the model's own answers that spell what is forced as the tokenizer does", f"{share:.0%}")


def is_written_as_forced(loaded: Loaded, asked: Generate, outputs: list[Output]) -> bool:
    """Whether an answer has the very tokens wherever some are forced."""
    assert asked.params.constraint is not None
    ends = loaded.tokenizer.end_token_ids
    grammar = compile_grammar(asked.params.constraint, loaded.tokenizer.vocabulary, ends)
    canonical, answer = Canonical(loaded.tokenizer), [token for token in tokens(outputs) if token not in ends]
    for at in range(len(answer)):
        guide = Guide(grammar, canonical)
        for token in answer[:at]:
            assert guide.propose(token, 1000)
            guide.take()
        forced = guide.jump([*asked.token_ids, *answer[:at]], 1000)
        if answer[at : at + len(forced)] != forced[: len(answer) - at]:
            return False
    return True


def test_a_wholly_forced_answer_never_reaches_the_model(bundled: Loaded) -> None:
    engine = Engine(BUNDLED, loaded=bundled)
    outputs = drive(engine, [request("a", Literal(b'{"fixed": true}'))])["a"]
    assert (text(outputs), outputs[-1].finish_reason) == ('{"fixed": true}', "stop")
    assert engine.stats().computed_tokens == 0


def test_other_constraints_than_json_hold_too(bundled: Loaded) -> None:
    constraints: dict[str, AnyConstraint] = {
        "regex": Regex("[a-f]{4}-[0-9]{2}"),
        "choice": Choice((b"yes", b"no", b"not at all")),
    }
    told = drive(Engine(BUNDLED, loaded=bundled), [request(name, one) for name, one in constraints.items()])
    assert len(text(told["regex"])) == 7
    assert text(told["choice"]) in ("yes", "no", "not at all")


def test_a_closed_answer_says_so_as_it_was_asked_to(bundled: Loaded) -> None:
    low = shortest(bundled, Json(SCHEMAS["long"]))
    tight: dict[str, Any] = {"temperature": 0.0, "max_tokens": low, "logit_bias": ((400, 50.0),)}
    told = drive(
        Engine(BUNDLED, loaded=bundled),
        [
            request("length", Json(SCHEMAS["long"]), **tight),
            request("stop", Json(SCHEMAS["long"]), closed_by_budget_as="stop", **tight),
        ],
    )
    assert [told[name][-1].finish_reason for name in ("length", "stop")] == ["length", "stop"]
    assert all(told[name][-1].closed_by_budget for name in told)


def test_where_log_probabilities_are_asked_for_every_token_has_one(bundled: Loaded) -> None:
    engine = Engine(BUNDLED, loaded=bundled)
    outputs = drive(engine, [request("a", Json(PERSON), logprobs=3)])["a"]
    logprobs = [entry for output in outputs for entry in output.logprobs or ()]
    assert [entry.token_id for entry in logprobs] == tokens(outputs)
    assert engine.stats().forced_tokens == 0
    jsonschema.validate(json.loads(text(outputs)), PERSON)


def test_a_schema_that_nothing_satisfies_is_refused_with_its_path(bundled: Loaded) -> None:
    impossible: dict[str, Any] = {"allOf": [{"type": "null"}, {"type": "string"}]}
    schema: dict[str, Any] = {"type": "object", "properties": {"a": impossible}, "required": ["a"]}
    with pytest.raises(RequestError, match="/properties/a") as refused:
        Engine(BUNDLED, loaded=bundled).submit(request("a", Json(schema)))
    assert refused.value.param == "constraint"


def test_a_grammar_that_fails_ends_its_request_alone(bundled: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tokens(drive(Engine(BUNDLED, loaded=bundled), [request("good", Json(PERSON))])["good"])
    fill, engine = Guide.fill, Engine(BUNDLED, loaded=bundled)
    engine.submit(request("bad", Json(SCHEMAS["nested"]), 30, first=600))
    broken = {id(sequence.guide) for sequence in engine.scheduler.waiting}

    def fail(self: Guide, out: NDArray[np.int32]) -> None:
        if id(self) in broken:
            raise RuntimeError("the grammar broke")
        fill(self, out)

    monkeypatch.setattr(Guide, "fill", fail)
    told = drive(engine, [request("good", Json(PERSON))])
    assert tokens(told["good"]) == good
    assert told["bad"][-1].finish_reason == "error"
    assert engine.stats().failed == 1
    monkeypatch.setattr(Guide, "fill", fill)
    again = drive(engine, [request("again", None, 30, first=600)])["again"]
    assert again[-1].usage.cached_tokens == 0


def test_bias_can_not_make_a_forbidden_token_come(bundled: Loaded) -> None:
    wanted = bundled.tokenizer.encode(" zebra")[0]
    told = drive(Engine(BUNDLED, loaded=bundled), [request("a", Json(PERSON), logit_bias=((wanted, 100.0),))])
    jsonschema.validate(json.loads(text(told["a"])), PERSON)


def test_what_bans_every_token_that_is_allowed_is_an_error_of_its_own(bundled: Loaded) -> None:
    known = bundled.tokenizer.token_bytes
    stops = tuple(token for token, data in enumerate(known) if data and data[:1] in (b"x", b"y"))[:64]
    told = drive(Engine(BUNDLED, loaded=bundled), [request("a", Regex("[xy]{9}"), min_tokens=9, stop_token_ids=stops)])
    assert told["a"][-1].error_code == "no_token_left"


@pytest.mark.parametrize("constraint", [Regex("[a-z]*"), Json({"type": "integer"}), Literal(b"abc")])
def test_min_tokens_yields_where_only_the_end_is_left(bundled: Loaded, constraint: AnyConstraint) -> None:
    told = drive(Engine(BUNDLED, loaded=bundled), [request("a", constraint, min_tokens=10, max_tokens=10)])
    assert told["a"][-1].finish_reason in ("length", "stop")
    compiled = compile_grammar(constraint, bundled.tokenizer.vocabulary, bundled.tokenizer.end_token_ids).start()
    compiled.accept_bytes(text(told["a"]).encode())
    assert compiled.is_complete()


@pytest.mark.parametrize("constraint", [Regex("[a-z]*"), Json({"type": "integer"})])
def test_an_end_that_min_tokens_yields_to_has_its_log_probability(bundled: Loaded, constraint: AnyConstraint) -> None:
    asked = request("a", constraint, min_tokens=10, max_tokens=10, logprobs=2)
    outputs = drive(Engine(BUNDLED, loaded=bundled), [asked])["a"]
    logprobs = [entry for output in outputs for entry in output.logprobs or ()]
    assert [entry.token_id for entry in logprobs] == tokens(outputs)
    assert logprobs[-1].token_id in bundled.tokenizer.end_token_ids
    assert logprobs[-1].logprob < 0
    assert len(logprobs[-1].top) == 2


def test_a_forced_stop_token_ends_no_answer_before_min_tokens(bundled: Loaded) -> None:
    constraint = Json({"const": ["a", "b", "c"]})
    whole = tokens(drive(Engine(BUNDLED, loaded=bundled), [request("a", constraint)])["a"])
    for min_tokens in range(len(whole)):
        asked = request("a", constraint, min_tokens=min_tokens, stop_token_ids=tuple(whole))
        outputs = drive(Engine(BUNDLED, loaded=bundled), [asked])["a"]
        assert tokens(outputs) == whole[: min_tokens + 1]
        assert outputs[-1].stop_reason == whole[min_tokens]


def test_ignoring_the_end_of_a_constrained_answer_is_refused(bundled: Loaded) -> None:
    with pytest.raises(RequestError, match="ignore_eos") as refused:
        Engine(BUNDLED, loaded=bundled).submit(request("a", Json({}), ignore_eos=True))
    assert refused.value.param == "ignore_eos"


def test_a_stop_inside_what_is_forced_ends_the_answer_there(bundled: Loaded) -> None:
    engine = Engine(BUNDLED, loaded=bundled)
    outputs = drive(engine, [request("a", Json({"const": ["a", "b", "c"]}), stop=("b",))])["a"]
    assert text(outputs) == '["a","'
    assert engine.stats().forced_tokens == len(tokens(outputs)) == engine.stats().generated_tokens


def test_bytes_that_are_no_text_can_be_forced(bundled: Loaded) -> None:
    outputs = drive(Engine(BUNDLED, loaded=bundled), [request("a", Literal(b"\xff\xfeabc"))])["a"]
    said_bytes = b"".join(bundled.tokenizer.token_bytes[token] or b"" for token in tokens(outputs))
    assert said_bytes == b"\xff\xfeabc"


def test_many_forced_tokens_leave_the_others_their_steps(bundled: Loaded) -> None:
    engine = Engine(dataclasses.replace(BUNDLED, step_tokens=32), loaded=bundled)
    constraint = Json({"enum": ["a" + " b" * 75, "c" + " d" * 75]})
    for at in range(6):
        engine.submit(request(str(at), constraint, max_tokens=200))
    before, most, texts = 0, 0, dict.fromkeys(map(str, range(6)), "")
    while engine.has_work():
        for output in engine.step().outputs:
            texts[output.request_id] += output.text
        most, before = max(most, engine.stats().computed_tokens - before), engine.stats().computed_tokens
    assert most <= 32 + 16  # and the smallest chunk of a prompt
    assert {json.loads(one) for one in texts.values()} <= {"a" + " b" * 75, "c" + " d" * 75}


def test_a_constrained_request_can_be_aborted(bundled: Loaded) -> None:
    engine = Engine(BUNDLED, loaded=bundled)
    engine.submit(request("a", Json(PERSON)))
    engine.step()
    engine.abort("a")
    assert drive(engine, [])["a"][-1].finish_reason == "abort"


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_grammar_used_once_has_grown_by_is_counted_when_its_request_is_over(bundled: Loaded, ends: bool) -> None:
    asked = request("a", Json(SCHEMAS["nested"] | {"title": str(ends)}))
    is_compiled = []
    for size in (10**7, 10**5):
        engine = Engine(dataclasses.replace(BUNDLED, grammar_memory_bytes=size), loaded=bundled)
        engine.submit(asked)
        for _ in range(40):
            engine.step()
        is_compiled.append(engine.preparation(asked) is None)
        if not ends:
            assert engine.has_work()
            engine.abort("a")
        drive(engine, [])
        is_compiled.append(engine.preparation(asked) is None)
    assert is_compiled == [True, True, True, False]


def test_an_answer_fills_the_context_to_the_last_token(bundled: Loaded) -> None:
    engine = Engine(BUNDLED, loaded=bundled)
    outputs = drive(engine, [request("a", Json(SCHEMAS["long"]), prompt=460, first=10, max_tokens=None)])["a"]
    jsonschema.validate(json.loads(text(outputs)), SCHEMAS["long"])
    assert outputs[-1].usage.prompt_tokens + outputs[-1].usage.completion_tokens <= 512


def test_a_stop_token_ends_an_answer_in_the_parts_where_stops_are_looked_for(bundled: Loaded) -> None:
    constraint = Sequence((Regex("[ab]{9}", part="call"), Literal(b"; "), Regex("[ab]{9}", part="text")))
    known = bundled.tokenizer.token_bytes
    stops = tuple(token for token, data in enumerate(known) if data and data[:1] in (b"a", b"b", b";"))
    told = drive(
        Engine(BUNDLED, loaded=bundled),
        [
            request("one", constraint, stop_token_ids=stops, stop_in=("text",)),
            request("all", constraint, stop_token_ids=stops),
        ],
    )
    parts = [part for output in told["one"] for part in output.parts]
    assert len("".join(part.text for part in parts if isinstance(part, PartText) and part.part == "call")) == 9
    assert not [part for part in parts if isinstance(part, PartText) and part.part == "text"]
    assert told["one"][-1].stop_reason in stops and len(tokens(told["all"])) == 1


def test_parts_are_told_and_cut_where_a_stop_string_is_looked_for(bundled: Loaded) -> None:
    choice = "[ab]{10}(ab){10}"
    constraint = Sequence((Regex(choice, part="first"), Literal(b"; "), Regex(choice, part="text")))
    engine = Engine(BUNDLED, loaded=bundled)
    told = drive(
        engine,
        [
            request("free", constraint),
            request("all", constraint, stop=("bab", "aba")),
            request("one", constraint, stop=("bab", "aba"), stop_in=("text",)),
            request("none", constraint, stop=("bab", "aba"), stop_in=("other",)),
            request("kept", constraint, stop=("ab",), stop_in=("text",), include_stop_text=True),
        ],
    )
    texts = {
        name: {
            part: "".join(
                event.text
                for output in outputs
                for event in output.parts
                if isinstance(event, PartText) and event.part == part
            )
            for part in ("first", "text")
        }
        for name, outputs in told.items()
    }
    free = texts["free"]
    assert [len(text) for text in free.values()] == [30, 30] and texts["none"] == free
    assert not any(output.text for outputs in told.values() for output in outputs)

    def cut(text: str, *stops: str) -> str:
        return text[: min(at for stop in stops if (at := text.find(stop)) >= 0)]

    assert texts["all"] == {"first": cut(free["first"], "bab", "aba"), "text": ""}
    assert texts["one"] == {"first": free["first"], "text": cut(free["text"], "bab", "aba")}
    assert texts["kept"]["text"] == cut(free["text"], "ab") + "ab"
    assert {name: outputs[-1].stop_reason for name, outputs in told.items() if name in ("free", "none")} == {
        "free": None,
        "none": None,
    }
    assert told["one"][-1].stop_reason in ("bab", "aba") and told["one"][-1].finish_reason == "stop"
    ended = [event for output in told["free"] for event in output.parts if isinstance(event, PartEnded)]
    assert [event.part for event in ended] == ["first", "text"]
    assert 0 < ended[0].num_tokens < ended[1].num_tokens <= told["free"][-1].usage.completion_tokens
