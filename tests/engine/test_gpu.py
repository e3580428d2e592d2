"""The model and the engine on Triton kernels, against the same on the CPU without them.

With `-m gpu` on a CUDA device; otherwise small samples of it in triton's interpreter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.batch import Batch
from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import read_config
from espalier.engine.kv_pool import KVPool
from espalier.engine.model import CausalLM
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.weights import Placement, load_model
from espalier.kernels import native
from tests.kernels.interpreter import skip_without_triton

SAMPLE = ["llama-tied", "qwen3-window"]
OTHERS = ["llama", "llama-wide-heads", "llama-biases", "mistral-window", "qwen2", "qwen3", "qwen3-moe"]
CASES = [*SAMPLE, *(pytest.param(case, marks=pytest.mark.slow) for case in OTHERS)]
POSITIONS, SLOTS = 64, 300
NEAR_TIE = 1e-3

# New tokens of each row, step by step: prompts, chunks beside decode, decode alone.
TRACE = ({0: 9, 1: 1, 2: 20}, {0: 1, 1: 5, 2: 1}, {2: 7}, {0: 1, 1: 1, 2: 1}, {1: 1})

Make = Callable[..., Path]
Answers = dict[str, list[tuple[int, float]]]


@contextmanager
def computed_by(kernels: str) -> Iterator[None]:
    """Kernels of "triton", without the native library; or of "torch", on a CPU with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_KERNELS", kernels)
        patch.setenv("ESPALIER_NATIVE", "0" if kernels == "triton" else "1")
        native.library.cache_clear()
        yield
    native.library.cache_clear()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where the Triton kernels run."""
    skip_without_triton(request.param)
    name: str = request.param
    return name


def load(folder: Path, device: str, fmt: str = "float32", *, exact: bool = False) -> CausalLM:
    checkpoint = Checkpoint(folder)
    placement = Placement(device, getattr(torch, fmt), fmt, exact)  # type: ignore[arg-type]
    return load_model(checkpoint, read_config(checkpoint.config), placement, POSITIONS)


def logits_of(model: CausalLM, device: str) -> list[Tensor]:
    """Logits of every row's last token at each step of the trace, over a pool whose slots lie scattered."""
    random = np.random.default_rng(0)
    kv = KVPool(model.config, SLOTS, device=device, dtype=model.dtype)
    kv.poison(torch.arange(SLOTS, device=device))
    table = torch.from_numpy(random.permutation(SLOTS)[: 3 * POSITIONS].astype(np.int32)).view(3, POSITIONS)
    lengths, found = np.zeros(3, dtype=np.int32), []
    for work in TRACE:
        rows, counts = np.array(list(work)), np.array(list(work.values()))
        positions = np.concatenate([lengths[row] + np.arange(count) for row, count in work.items()])
        lengths[rows] += counts.astype(np.int32)
        start = torch.from_numpy(np.concatenate([[0], counts.cumsum()])).int()
        owners = np.repeat(rows, counts)
        batch = Batch(
            token_ids=torch.from_numpy(random.integers(3, 97, len(positions))).to(device),
            positions=torch.from_numpy(positions).long().to(device),
            query_start=start.to(device),
            context_len=torch.from_numpy(lengths[rows]).to(device),
            rows=torch.from_numpy(rows).int().to(device),
            slot_table=table.to(device),
            out_slots=table[owners, positions].long().to(device),
            logit_rows=(start[1:] - 1).long().to(device),
            are_last=True,
        )
        found.append(model.forward(batch, kv).cpu())
    return found


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest difference, relative to the largest logit."""
    assert [x.shape for x in found] == [x.shape for x in wanted]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_without_kernels(case: str, device: str, make_checkpoint: Make) -> None:
    folder = make_checkpoint(case)
    with computed_by("torch"):
        wanted = logits_of(load(folder, "cpu"), "cpu")
    with computed_by("triton"):
        assert error(logits_of(load(folder, device), device), wanted) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize(("fmt", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_logits_in_half_precision_are_near(fmt: str, bound: float, device: str, make_checkpoint: Make) -> None:
    folder = make_checkpoint("qwen3")
    with computed_by("torch"):
        wanted = logits_of(load(folder, "cpu"), "cpu")
    with computed_by("triton"):
        assert error(logits_of(load(folder, device, fmt), device), wanted) < bound


def answers(options: EngineOptions, prompts: list[list[int]], num_tokens: int) -> Answers:
    """Each greedy token and its lead over the runner-up."""
    engine = Engine(options)
    params = SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True, logprobs=2)
    for index, prompt in enumerate(prompts):
        engine.submit(Generate(str(index), prompt, params))
    told: Answers = {str(index): [] for index in range(len(prompts))}
    while engine.has_work():
        for output in engine.step().outputs:
            for entry in output.logprobs or ():
                told[output.request_id].append((entry.token_id, entry.top[0].logprob - entry.top[1].logprob))
    engine.scheduler.check()
    assert all(len(tokens) == num_tokens for tokens in told.values())
    return told


def near_ties(reference: Answers, other: Answers) -> int:
    """Requests that differ, each first at a near tie; anything else fails."""
    count = 0
    for name, tokens in reference.items():
        pairs = zip(tokens, other[name], strict=True)
        first = next((at for at, (a, b) in enumerate(pairs) if a[0] != b[0]), None)
        if first is not None:
            assert tokens[first][1] < NEAR_TIE, f"request {name} differs at token {first} without a near tie"
            count += 1
    return count


@pytest.mark.parametrize("exact", [False, True])
def test_greedy_output_is_that_of_the_cpu(device: str, exact: bool, tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path, SHAPES["tiny"])
    random = np.random.default_rng(3)
    num_prompts, num_tokens = (2, 3) if device == "cpu" else (16, 24)
    prompts = [random.integers(1, 512, random.integers(1, 60)).tolist() for _ in range(num_prompts)]

    def options(where: str) -> EngineOptions:
        return EngineOptions(
            model=str(folder),
            device=where,  # type: ignore[arg-type]
            dtype="float32",
            exact=exact,
            kv_memory_bytes=2**22,
            step_tokens=64,
            threads=1,
        )

    with computed_by("torch"):
        wanted = answers(options("cpu"), prompts, num_tokens)
    with computed_by("triton"):
        found = answers(options(device), prompts, num_tokens)
    if count := near_ties(wanted, found):
        warnings.warn(pytest.PytestWarning(f"{count} near ties went the other way"), stacklevel=1)
