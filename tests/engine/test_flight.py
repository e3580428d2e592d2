"""Steps that are launched before the last one is told, on a device that only seems to run ahead: the CPU's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from espalier.engine import Engine, EngineOptions, Generate, Output, SamplingParams
from espalier.engine.errors import RequestError
from espalier.engine.forward import Flight, Forward
from espalier.engine.loader import Loaded, load
from espalier.engine.messages import Forget
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.runner import Runner
from espalier.engine.work import Work

PROMPTS = {name: [at + 1, at + 2, at + 3] for at, name in enumerate("abc")}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EngineOptions:
    folder: Path = write_random_checkpoint(tmp_path_factory.mktemp("tiny"), SHAPES["tiny"])
    return EngineOptions(model=str(folder), kv_memory_bytes=2**20, threads=1, exact=True)


@pytest.fixture(scope="module")
def loaded(options: EngineOptions) -> Loaded:
    return load(options)


@pytest.fixture
def engine(options: EngineOptions, loaded: Loaded) -> Engine:
    return Engine(options, loaded=loaded, runs_ahead=True, poison_freed=True)


@pytest.fixture(scope="module")
def alone(options: EngineOptions, loaded: Loaded) -> dict[str, list[int]]:
    """What each request answers without any of this."""
    engine = Engine(options, loaded=loaded)
    return {name: tokens(drive(engine, [asked(name)])) for name in PROMPTS}


def asked(name: str, count: int = 12) -> Generate:
    return Generate(name, PROMPTS[name], SamplingParams(temperature=0, max_tokens=count, ignore_eos=True))


def drive(engine: Engine, requests: list[Generate]) -> list[Output]:
    for request in requests:
        engine.submit(request)
    outputs: list[Output] = []
    while engine.has_work():
        outputs += engine.step().outputs
        engine.scheduler.check()
    return outputs


def tokens(outputs: list[Output], name: str | None = None) -> list[int]:
    return [token for output in outputs if name in (None, output.request_id) for token in output.token_ids]


def test_answers_are_those_of_steps_one_after_another(engine: Engine, alone: dict[str, list[int]]) -> None:
    outputs = drive(engine, [asked(name) for name in PROMPTS])
    assert {name: tokens(outputs, name) for name in PROMPTS} == alone


def test_a_request_may_be_aborted_while_it_is_computed(engine: Engine, alone: dict[str, list[int]]) -> None:
    for name in "ab":
        engine.submit(asked(name))
    told = engine.step().outputs
    engine.abort("a")
    engine.scheduler.check()
    # Its row and its slots are another's at once, and so is its name.
    told += drive(engine, [asked("c"), Generate("a", PROMPTS["b"], asked("b").params)])
    assert [output.finish_reason for output in told if output.request_id == "a"].count("abort") == 1
    assert tokens(told, "a") == alone["a"][:1] + alone["b"]
    assert (tokens(told, "b"), tokens(told, "c")) == (alone["b"], alone["c"])


def test_what_nobody_waits_for_any_more_is_not_drawn(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.submit(asked("a"))
    engine.step()
    engine.abort("a")
    engine.submit(asked("b", 1))
    computed: list[list[str]] = []

    def noted(self: Runner, plan: list[Work]) -> Tensor:
        computed.append([work.sequence.request_id for work in plan])
        return logits(self, plan)

    logits = Runner.logits
    monkeypatch.setattr(Runner, "logits", noted)
    outputs = engine.step().outputs
    assert [(output.request_id, output.finish_reason) for output in outputs] == [("a", "abort"), ("b", "length")]
    assert computed == [["b"]]
    assert not engine.has_work()


def test_who_arrives_before_the_next_step_is_planned_is_in_it(engine: Engine, alone: dict[str, list[int]]) -> None:
    engine.submit(asked("a"))
    told = engine.step().outputs + engine.step(lambda: engine.submit(asked("b"))).outputs
    assert {output.request_id for output in told} == {"a"}
    next_told = engine.step().outputs
    assert {output.request_id for output in next_told} == {"a", "b"}
    told += next_told + drive(engine, [])
    assert (tokens(told, "a"), tokens(told, "b")) == (alone["a"], alone["b"])


def test_who_is_aborted_before_its_token_is_told_is_told_once(engine: Engine, alone: dict[str, list[int]]) -> None:
    engine.submit(asked("a"))
    engine.step()
    told = engine.step(lambda: engine.abort("a")).outputs
    assert [(output.finish_reason, output.token_ids) for output in told] == [("abort", alone["a"][1:2])]
    assert not engine.has_work()
    engine.scheduler.check()


def test_who_has_ended_is_told_though_its_name_is_taken_anew(engine: Engine, alone: dict[str, list[int]]) -> None:
    engine.submit(asked("a", 2))
    engine.submit(asked("c"))
    told = engine.step().outputs
    told += engine.step(lambda: engine.submit(asked("a"))).outputs + drive(engine, [])
    assert [output.finish_reason for output in told if output.finish_reason] == ["length"] * 3
    assert tokens(told, "a") == alone["a"][:2] + alone["a"]


@pytest.mark.parametrize("breaks_at", ["launch", "draw"])
def test_a_step_that_fails_under_way_ends_only_the_culprit(
    engine: Engine, alone: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch, breaks_at: str
) -> None:
    logits = Runner.logits

    def broken(self: Runner, plan: list[Work]) -> Tensor:
        names = [work.sequence.request_id for work in plan]
        if "b" in names:
            # A device tells what went wrong only when it is asked for the result.
            if breaks_at == "launch" or len(names) == 1:
                raise RuntimeError("the device broke")
            return torch.empty(0, 0)
        return logits(self, plan)

    monkeypatch.setattr(Runner, "logits", broken)
    told = drive(engine, [asked(name) for name in PROMPTS])
    assert [output.request_id for output in told if output.finish_reason == "error"] == ["b"]
    assert (tokens(told, "a"), tokens(told, "c")) == (alone["a"], alone["c"])


def test_a_step_that_could_not_be_launched_leaves_out_who_was_aborted(
    options: EngineOptions, loaded: Loaded, alone: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its row would be the last of the table: another's, where all are taken.
    engine = Engine(dataclasses.replace(options, max_running=2), loaded=loaded, runs_ahead=True, poison_freed=True)
    for name in "ab":
        engine.submit(asked(name))
    told = engine.step().outputs
    logits, computed = Runner.logits, list[list[str]]()

    def broken(self: Runner, plan: list[Work]) -> Tensor:
        computed.append([work.sequence.request_id for work in plan])
        if len(computed) == 1:
            raise RuntimeError("no memory")
        return logits(self, plan)

    monkeypatch.setattr(Runner, "logits", broken)
    told += engine.step().outputs
    engine.abort("b")
    told += drive(engine, [])
    assert computed[:2] == [["a", "b"], ["a"]]
    assert tokens(told, "a") == alone["a"]


def test_what_is_written_of_a_request_that_is_aborted_is_erased(options: EngineOptions, loaded: Loaded) -> None:
    engine = Engine(dataclasses.replace(options, step_tokens=16), loaded=loaded, runs_ahead=True)
    loaded.kv.storage_k.zero_()
    engine.submit(Generate("a", list(range(1, 91)), asked("a").params, session="s"))
    engine.step()
    engine.abort("a")
    engine.note(Forget("", "", list(range(1, 91)), "s"))
    assert not loaded.kv.storage_k.any()


def test_nothing_is_lost_when_what_arrives_is_refused(engine: Engine, alone: dict[str, list[int]]) -> None:
    engine.submit(asked("a", 2))
    engine.submit(asked("c", 3))
    engine.submit(asked("b"))
    engine.step()
    engine.abort("b")
    with pytest.raises(RequestError):
        engine.step(lambda: engine.submit(Generate("d", [], asked("a").params)))
    told = drive(engine, [])
    ends = {output.request_id: output.finish_reason for output in told}
    assert ends == {"a": "length", "b": "abort", "c": "length"}
    assert (tokens(told, "a"), tokens(told, "c")) == (alone["a"][1:2], alone["c"][1:3])


def test_names_may_be_taken_again_and_given_up_before_their_first_owner_is_told(
    engine: Engine, alone: dict[str, list[int]]
) -> None:
    def again() -> None:
        engine.submit(asked("a"))
        engine.abort("a")

    engine.submit(asked("a", 2))
    engine.submit(asked("c"))
    engine.step()
    told = [(one.finish_reason, one.token_ids) for one in engine.step(again).outputs if one.request_id == "a"]
    assert told == [("length", alone["a"][1:2]), ("abort", [])]


def test_who_is_aborted_is_told_the_log_probabilities_of_its_tokens(engine: Engine) -> None:
    params = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, logprobs=0)
    engine.submit(Generate("a", PROMPTS["a"], params))
    engine.step()
    [last] = engine.step(lambda: engine.abort("a")).outputs
    assert last.logprobs is not None
    assert [entry.token_id for entry in last.logprobs] == last.token_ids


class Clockwork:
    """What a GPU says when it is asked whether it is through."""

    def __init__(self, says: bool | Exception) -> None:
        self._says = says

    def query(self) -> bool:
        if isinstance(self._says, Exception):
            raise self._says
        return self._says


@pytest.mark.parametrize("is_through", [False, True])
def test_a_step_that_was_through_before_it_landed_tells_nothing_of_what_prompts_cost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, is_through: bool
) -> None:
    launch_with(monkeypatch, is_through)
    drive(engine, [Generate("a", list(range(1, 61)), SamplingParams(max_tokens=1))])
    assert (engine.stats().prefill_tokens_per_s == 0) == is_through


def test_a_device_that_breaks_under_way_ends_requests_and_not_the_engine(
    engine: Engine, alone: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_with(monkeypatch, RuntimeError("an illegal address"))
    assert tokens(drive(engine, [asked("a")])) == alone["a"]  # computed anew, step by step


def launch_with(monkeypatch: pytest.MonkeyPatch, says: bool | Exception) -> None:
    launch = Forward.launch

    def launched(self: Forward, plan: list[Work], now_s: float) -> Flight:
        flight = launch(self, plan, now_s)
        flight.computed = Clockwork(says)  # type: ignore[assignment]
        return flight

    monkeypatch.setattr(Forward, "launch", launched)


def test_slots_that_were_reserved_are_free_again_in_the_end(engine: Engine) -> None:
    drive(engine, [asked(name) for name in PROMPTS])
    stats = engine.stats()
    assert stats.slots_used == stats.slots_cached
