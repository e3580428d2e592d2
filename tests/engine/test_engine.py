"""The engine in process, on a tiny model with random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from espalier.engine import Engine, EngineOptions, Generate, Output, SamplingParams
from espalier.engine.batch import Batch
from espalier.engine.errors import ContextOverflowError, OverloadedError, RequestError
from espalier.engine.kv_pool import KVPool
from espalier.engine.loader import Loaded, load
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint

GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EngineOptions:
    folder = write_random_checkpoint(tmp_path_factory.mktemp("tiny"), SHAPES["tiny"])
    return EngineOptions(model=str(folder), kv_memory_bytes=4 * 2**20, threads=1)


@pytest.fixture(scope="module")
def loaded(options: EngineOptions) -> Loaded:
    return load(options)


@pytest.fixture
def engine(options: EngineOptions, loaded: Loaded) -> Engine:
    return Engine(options, loaded=loaded)


def drive(engine: Engine, requests: Iterable[Generate] = ()) -> dict[str, list[Output]]:
    for request in requests:
        engine.submit(request)
    told: dict[str, list[Output]] = {}
    while engine.has_work():
        for output in engine.step().outputs:
            told.setdefault(output.request_id, []).append(output)
        engine.scheduler.check()
    return told


def tokens(outputs: list[Output]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


def text(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs)


class Faulty:
    """A model that gives NaN, or fails, where a prompt holds a certain token."""

    def __init__(self, loaded: Loaded, marker: int, *, raises: bool) -> None:
        self._model, self._marker, self._raises = loaded.model, marker, raises
        self.config = loaded.model.config

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        logits = self._model.forward(batch, kv)
        starts = batch.query_start.tolist()
        for row, (begin, end) in enumerate(pairwise(starts)):
            if self._marker in batch.token_ids[begin:end].tolist():
                if self._raises:
                    raise RuntimeError("the model broke")
                logits = logits.clone()
                logits[row] = float("nan")
        return logits


def test_a_request_ends_at_max_tokens_and_tells_its_usage(engine: Engine) -> None:
    told = drive(engine, [Generate("a", [5, 6, 7], GREEDY)])["a"]
    assert len(tokens(told)) == 8
    assert [output.finish_reason for output in told] == [None] * 7 + ["length"]
    assert (told[-1].usage.prompt_tokens, told[-1].usage.completion_tokens) == (3, 8)
    assert told[-1].timings is not None


def test_the_second_turn_finds_the_first_in_the_tree(engine: Engine) -> None:
    first = drive(engine, [Generate("a", list(range(1, 41)), GREEDY)])["a"]
    turn = [*range(1, 41), *tokens(first), 9]
    second = drive(engine, [Generate("b", turn, GREEDY)])["b"]
    # All but the last generated token were computed.
    assert second[-1].usage.cached_tokens == 47


def test_prefixes_do_not_cross_tenants_or_salts(engine: Engine) -> None:
    prompt = list(range(1, 41))
    drive(engine, [Generate("a", prompt, GREEDY, tenant="x")])
    for request in (
        Generate("b", prompt, GREEDY, tenant="y"),
        Generate("c", prompt, GREEDY, tenant="x", cache_salt="s"),
    ):
        assert drive(engine, [request])[request.request_id][-1].usage.cached_tokens == 0


def test_abort_frees_slots_at_once_and_ends_the_request(engine: Engine) -> None:
    free = engine.scheduler.slots.num_free + engine.scheduler.tree.num_evictable
    engine.submit(Generate("a", list(range(1, 30)), GREEDY))
    engine.submit(Generate("b", list(range(50, 60)), GREEDY))
    engine.step()
    engine.abort("a")
    assert engine.scheduler.slots.num_free + engine.scheduler.tree.num_evictable >= free - 11
    told = drive(engine)
    assert told["a"][-1].finish_reason == "abort"
    assert told["b"][-1].finish_reason == "length"
    engine.abort("unknown")


def test_a_waiting_request_can_be_aborted(options: EngineOptions, loaded: Loaded) -> None:
    engine = Engine(dataclasses.replace(options, max_running=1), loaded=_narrow(loaded))
    engine.submit(Generate("a", [1, 2], GREEDY))
    engine.submit(Generate("b", [3, 4], GREEDY))
    engine.step()
    engine.abort("b")
    told = drive(engine)
    assert told["b"][0].finish_reason == "abort"
    assert told["a"][-1].finish_reason == "length"


def _narrow(loaded: Loaded) -> Loaded:
    return dataclasses.replace(loaded, fit=dataclasses.replace(loaded.fit, max_running=1))


@pytest.mark.parametrize("raises", [False, True])
def test_one_request_fails_alone_and_its_state_is_not_used(
    options: EngineOptions, loaded: Loaded, raises: bool
) -> None:
    good = drive(Engine(options, loaded=loaded), [Generate("good", [3, 4, 5], GREEDY)])["good"]
    broken = dataclasses.replace(loaded, model=Faulty(loaded, 99, raises=raises))  # type: ignore[arg-type]
    engine = Engine(options, loaded=broken)
    prompt = [*range(10, 40), 99]
    told = drive(engine, [Generate("good", [3, 4, 5], GREEDY), Generate("bad", prompt, GREEDY)])
    assert tokens(told["good"]) == tokens(good)
    assert told["bad"][-1].finish_reason == "error"
    assert told["bad"][-1].error_code == ("engine_error" if raises else "nan_logits")
    assert engine.stats().failed == 1
    again = drive(engine, [Generate("again", prompt[:-1], GREEDY)])["again"]
    assert again[-1].usage.cached_tokens == 0


def test_state_that_is_no_number_is_forgotten_by_the_last_that_holds_it(options: EngineOptions, loaded: Loaded) -> None:
    own = {"short": range(200, 208), "long": range(100, 250), "again": range(150, 180)}
    requests = [Generate(name, [*range(1, 141), *ids], GREEDY) for name, ids in own.items()]
    good = drive(Engine(options, loaded=loaded), requests[2:])["again"]
    engine = Engine(options, loaded=loaded)
    for request in requests[:2]:
        engine.submit(request)
    engine.step()
    loaded.kv.poison(torch.from_numpy(engine.scheduler.tree.slots()).long())
    # The long one goes on where the short one is when that fails: what both have is still held.
    told = drive(engine)
    assert [told[name][-1].error_code for name in ("short", "long")] == ["nan_logits"] * 2
    again = drive(engine, requests[2:])["again"]
    assert again[-1].usage.cached_tokens == 0
    assert tokens(again) == tokens(good)


def test_seeds_repeat_and_differ(engine: Engine) -> None:
    def run(seed: int, name: str) -> list[int]:
        params = SamplingParams(temperature=1.0, top_p=0.95, seed=seed, max_tokens=12, ignore_eos=True)
        return tokens(drive(engine, [Generate(name, [1, 2, 3], params)])[name])

    assert run(5, "a") == run(5, "b")
    assert run(5, "c") != run(6, "d")


def test_stop_strings_and_stop_tokens_end_an_answer(engine: Engine) -> None:
    free = drive(engine, [Generate("a", [1, 2, 3], GREEDY)])["a"]
    whole, ids = text(free), tokens(free)
    stop = whole[len(whole) // 2 :][:3]
    told = drive(engine, [Generate("b", [1, 2, 3], SamplingParams(temperature=0, max_tokens=8, stop=(stop,)))])["b"]
    assert told[-1].finish_reason == "stop"
    assert told[-1].stop_reason == stop
    assert text(told) == whole[: whole.index(stop)]
    params = SamplingParams(temperature=0, max_tokens=8, stop_token_ids=(ids[2],))
    told = drive(engine, [Generate("c", [1, 2, 3], params)])["c"]
    assert told[-1].stop_reason == ids[2]
    assert len(tokens(told)) == ids.index(ids[2]) + 1


def test_min_tokens_keeps_ends_away(engine: Engine) -> None:
    first = tokens(drive(engine, [Generate("a", [1, 2, 3], GREEDY)])["a"])[0]
    params = SamplingParams(temperature=0, max_tokens=8, min_tokens=4, stop_token_ids=(first,))
    told = tokens(drive(engine, [Generate("b", [1, 2, 3], params)])["b"])
    assert first not in told[:4]


def test_logit_bias_and_penalties_change_the_draw(engine: Engine) -> None:
    forced = SamplingParams(temperature=0, max_tokens=3, logit_bias=((77, 100.0),), ignore_eos=True)
    assert tokens(drive(engine, [Generate("a", [1, 2], forced)])["a"]) == [77, 77, 77]
    params = SamplingParams(temperature=0, max_tokens=20, frequency_penalty=100.0, ignore_eos=True)
    told = tokens(drive(engine, [Generate("b", [1, 2], params)])["b"])
    assert len(set(told)) == len(told)


def test_logprobs_agree_with_the_models_own(engine: Engine, loaded: Loaded) -> None:
    params = SamplingParams(temperature=0, max_tokens=2, logprobs=3, ignore_eos=True)
    entries = [
        entry for output in drive(engine, [Generate("a", [1, 2], params)])["a"] for entry in output.logprobs or ()
    ]
    assert len(entries) == 2
    for entry in entries:
        assert entry.token_id == entry.top[0].token_id
        assert entry.logprob == pytest.approx(entry.top[0].logprob)
        assert [top.logprob for top in entry.top] == sorted((top.logprob for top in entry.top), reverse=True)
        assert len(entry.top) == 3


def test_what_can_not_be_served_is_refused_by_name(engine: Engine) -> None:
    for prompt, params, field in (
        ([], GREEDY, "prompt"),
        ([-1], GREEDY, "prompt"),
        ([512], GREEDY, "prompt"),
        ([1], SamplingParams(top_p=0), "top_p"),
    ):
        with pytest.raises(RequestError) as caught:
            engine.submit(Generate("a", prompt, params))
        assert caught.value.param == field
    with pytest.raises(ContextOverflowError, match="the prompt has 2000"):
        engine.submit(Generate("a", [1] * 2000, GREEDY))
    with pytest.raises(ContextOverflowError, match="at most 24 tokens"):
        engine.submit(Generate("a", [1] * 1000, SamplingParams(max_tokens=100)))
    assert not engine.has_work()


def test_an_answer_without_max_tokens_ends_with_the_context(options: EngineOptions, loaded: Loaded) -> None:
    short = dataclasses.replace(loaded, fit=dataclasses.replace(loaded.fit, max_context=16))
    engine = Engine(options, loaded=short)
    told = drive(engine, [Generate("a", [1, 2, 3], SamplingParams(temperature=0, ignore_eos=True))])["a"]
    assert len(tokens(told)) == 13
    assert told[-1].finish_reason == "length"


def test_too_many_waiting_requests_are_refused(options: EngineOptions, loaded: Loaded) -> None:
    engine = Engine(dataclasses.replace(options, max_waiting=2), loaded=loaded)
    engine.submit(Generate("a", [1], GREEDY))
    engine.submit(Generate("b", [1], GREEDY))
    with pytest.raises(OverloadedError):
        engine.submit(Generate("c", [1], GREEDY))


def test_one_id_runs_once(engine: Engine) -> None:
    engine.submit(Generate("a", [1], GREEDY))
    with pytest.raises(RequestError, match="running already"):
        engine.submit(Generate("a", [1], GREEDY))
    drive(engine)


def test_poisoned_free_slots_change_nothing(options: EngineOptions, loaded: Loaded) -> None:
    requests = [Generate(str(n), list(range(n + 1, n + 30)), GREEDY) for n in range(5)]
    plain = drive(Engine(options, loaded=loaded), requests)
    poisoned = drive(Engine(options, loaded=loaded, poison_freed=True), requests)
    assert {name: tokens(told) for name, told in plain.items()} == {
        name: tokens(told) for name, told in poisoned.items()
    }


def test_the_bundled_folder_is_found_and_torch_stays_in_inference_mode(loaded: Loaded) -> None:
    assert isinstance(loaded.folder, Path)
    assert not torch.is_inference_mode_enabled()


def test_usage_counts_the_prompts_tokens_that_were_added_to_the_tree(engine: Engine) -> None:
    def counts(name: str, prompt: list[int]) -> tuple[int, int, int]:
        usage = drive(engine, [Generate(name, prompt, GREEDY)])[name][-1].usage
        return usage.prompt_tokens, usage.cached_tokens, usage.written_tokens

    prompt = list(range(1, 21))
    assert counts("new", prompt) == (20, 0, 20)
    # Its last token is computed again for its logits, and lies in the tree already.
    assert counts("again", prompt) == (20, 19, 0)
    assert counts("longer", [*prompt[:15], *range(100, 110)]) == (25, 15, 10)


def test_what_two_requests_compute_at_once_is_written_once(engine: Engine) -> None:
    shared = list(range(1, 9))
    requests = [Generate(name, [*shared, *own], GREEDY) for name, own in (("a", [50] * 9), ("b", [60] * 9))]
    usages = [outputs[-1].usage for outputs in drive(engine, requests).values()]
    assert sum(usage.written_tokens for usage in usages) == 8 + 9 + 9
    assert all(usage.cached_tokens + usage.written_tokens <= usage.prompt_tokens for usage in usages)


def test_without_a_prefix_cache_nothing_is_written(options: EngineOptions, loaded: Loaded) -> None:
    engine = Engine(dataclasses.replace(options, prefix_cache=False), loaded=loaded)
    assert drive(engine, [Generate("r", [1, 2, 3], GREEDY)])["r"][-1].usage.written_tokens == 0
