"""The decoder against transformers: every architecture and rope scaling, whole, chunked, token by token, in a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from espalier.engine.batch import Batch
from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import read_config
from espalier.engine.kv_pool import KVPool
from espalier.engine.model import CausalLM
from espalier.engine.weights import Placement, load_model
from espalier.kernels import native
from espalier.kernels.sparse_head import sparse_head

POSITIONS, SLOTS = 64, 300
CASES = [
    "llama", "llama-tied", "llama-wide-heads", "llama-biases", "llama-linear", "llama-llama3", "llama-yarn",
    "llama-yarn-mscale", "mistral", "mistral-window", "qwen2", "qwen2-window", "qwen3", "qwen3-window", "qwen3-moe",
    "qwen3-moe-sparse",
]  # fmt: skip
Make = Callable[..., Path]


@pytest.fixture(params=["native", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways of computing: the native library, and plain torch."""
    name: str = request.param
    monkeypatch.setenv("ESPALIER_NATIVE", "0" if name == "torch" else "1")
    native.library.cache_clear()
    if name == "native" and native.library() is None:
        pytest.skip("there is no native library here")
    yield name
    native.library.cache_clear()


class Runner:
    """Sequences over one pool whose slots lie scattered."""

    def __init__(self, model: CausalLM, rows: int) -> None:
        self.model = model
        self.kv = KVPool(model.config, SLOTS, device="cpu", dtype=model.dtype)
        self.kv.poison(torch.arange(SLOTS))
        slots = torch.randperm(SLOTS, generator=torch.Generator().manual_seed(1))
        self.table = slots[: rows * POSITIONS].view(rows, POSITIONS).to(torch.int32)
        self.lengths = [0] * rows

    def step(self, work: dict[int, list[int]], *, every: bool = False) -> torch.Tensor:
        """Feed tokens to rows; logits of each row's last token, or of every token."""
        counts = [len(tokens) for tokens in work.values()]
        positions = [self.lengths[row] + at for row, tokens in work.items() for at in range(len(tokens))]
        owners = [row for row, tokens in work.items() for _ in tokens]
        for row, tokens in work.items():
            self.lengths[row] += len(tokens)
        start = np.concatenate([[0], np.cumsum(counts)])
        batch = Batch(
            token_ids=torch.tensor([token for tokens in work.values() for token in tokens]),
            positions=torch.tensor(positions),
            query_start=torch.tensor(start, dtype=torch.int32),
            context_len=torch.tensor([self.lengths[row] for row in work], dtype=torch.int32),
            rows=torch.tensor(list(work), dtype=torch.int32),
            slot_table=self.table,
            out_slots=self.table[owners, positions].long(),
            logit_rows=torch.arange(len(positions)) if every else torch.tensor(start[1:] - 1),
            are_last=not every,
        )
        return self.model.forward(batch, self.kv)


def load(folder: Path, *, fmt: str = "float32", exact: bool = False) -> CausalLM:
    checkpoint = Checkpoint(folder)
    dtype = torch.float32 if fmt == "int8" else getattr(torch, fmt)
    placement = Placement("cpu", dtype, fmt, exact)  # type: ignore[arg-type]
    return load_model(checkpoint, read_config(checkpoint.config), placement, POSITIONS)


def reference(folder: Path, tokens: list[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([tokens])).logits[0].float()
    return logits


def prompt(length: int, seed: int = 0) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, 97, length)]


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, relative to the largest logit."""
    assert found.dtype == torch.float32 and found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("case", CASES)
def test_logits_of_a_whole_prompt_are_those_of_transformers(case: str, backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint(case), prompt(40)
    wanted = reference(folder, tokens)
    assert error(Runner(load(folder), 1).step({0: tokens}, every=True), wanted) < 1e-4
    assert error(Runner(load(folder), 1).step({0: tokens}), wanted[-1:]) < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_chunks_and_single_tokens_give_the_logits_of_the_whole(case: str, backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint(case), prompt(40, seed=1)
    wanted, runner, at = reference(folder, tokens), Runner(load(folder), 1), 0
    for size in (9, 1, 16, 3, *[1] * 11):
        assert error(runner.step({0: tokens[at : at + size]}), wanted[at + size - 1 : at + size]) < 1e-4
        at += size
    assert at == len(tokens)


@pytest.mark.parametrize("case", CASES)
def test_what_shares_the_batch_changes_no_logits(case: str, backend: str, make_checkpoint: Make) -> None:
    folder = make_checkpoint(case)
    several = [prompt(length, seed=length) for length in (33, 5, 21, 40)]
    wanted, runner = [reference(folder, tokens) for tokens in several], Runner(load(folder), 4)
    done = [0] * 4
    for sizes in ((20, 5, 1, 0), (1, 0, 7, 25), (12, 0, 1, 1), (0, 0, 12, 14)):
        work = {row: several[row][done[row] : done[row] + size] for row, size in enumerate(sizes) if size}
        done = [begin + size for begin, size in zip(done, sizes, strict=True)]
        expected = torch.stack([wanted[row][done[row] - 1] for row in work])
        assert error(runner.step(work), expected) < 1e-4
    assert done == [len(tokens) for tokens in several]


@pytest.mark.parametrize("case", ["llama-llama3", "mistral-window", "qwen2", "qwen3"])
@pytest.mark.parametrize("fmt", ["bfloat16", "float16"])
def test_half_precision_stays_within_its_rounding(case: str, fmt: str, make_checkpoint: Make) -> None:
    dtype = getattr(torch, fmt)
    folder, tokens = make_checkpoint(case, dtype), prompt(40)
    exact = reference(folder, tokens)
    theirs = error(reference(folder, tokens, dtype), exact)
    ours = error(Runner(load(folder, fmt=fmt), 1).step({0: tokens}, every=True), exact)
    assert ours < max(1.5 * theirs, 1e-2) and ours < 0.1


@pytest.mark.parametrize("case", ["llama-tied", "qwen3"])
def test_a_bfloat16_checkpoint_in_float32_is_exact(case: str, backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint(case, torch.bfloat16), prompt(30)
    assert error(Runner(load(folder), 1).step({0: tokens}, every=True), reference(folder, tokens)) < 1e-4


@pytest.mark.parametrize("case", ["llama-tied", "qwen2", "qwen3-moe"])
def test_int8_weights_stay_near(case: str, backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint(case), prompt(30)
    found = Runner(load(folder, fmt="int8"), 1).step({0: tokens}, every=True)
    assert torch.isfinite(found).all()
    # Experts are chosen by small differences: most tokens, not all, stay near.
    wanted = reference(folder, tokens)
    apart = (found - wanted).abs().amax(1) / wanted.abs().max()
    assert float(apart.median()) < 0.08


@pytest.mark.parametrize("case", ["llama", "mistral-window", "qwen3-moe"])
def test_with_exact_logits_do_not_depend_on_chunks_or_batch(case: str, backend: str, make_checkpoint: Make) -> None:
    model, tokens = load(make_checkpoint(case), exact=True), prompt(24)
    whole = Runner(model, 1).step({0: tokens}, every=True)
    several = Runner(model, 3)
    for at, token in enumerate(tokens):
        other = prompt(1 + at % 5, seed=at)
        found = several.step({2: other[:1], 1: [token], 0: other} if at % 2 else {1: [token]})
        assert torch.equal(found[1 if at % 2 else 0], whole[at])


def test_logits_of_some_tokens_within_a_sequence_are_given(backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint("qwen3-moe"), prompt(12)
    runner = Runner(load(folder), 1)
    wanted = runner.step({0: tokens}, every=True)
    batch = Batch(
        token_ids=torch.tensor(tokens),
        positions=torch.arange(12),
        query_start=torch.tensor([0, 12], dtype=torch.int32),
        context_len=torch.tensor([12], dtype=torch.int32),
        rows=torch.tensor([0], dtype=torch.int32),
        slot_table=runner.table,
        out_slots=runner.table[0, :12].long(),
        logit_rows=torch.tensor([3, 7]),
    )
    assert error(runner.model.forward(batch, runner.kv), wanted[[3, 7]]) < 1e-5


@pytest.mark.parametrize("case", ["llama-tied", "qwen3-moe"])
def test_the_head_makes_the_logits_of_hidden_states(case: str, backend: str, make_checkpoint: Make) -> None:
    folder, tokens = make_checkpoint(case), prompt(12)
    wanted = Runner(load(folder), 1).step({0: tokens}, every=True)
    runner = Runner(load(folder), 1)
    model = runner.model
    batch = Batch(
        token_ids=torch.tensor(tokens),
        positions=torch.arange(12),
        query_start=torch.tensor([0, 12], dtype=torch.int32),
        context_len=torch.tensor([12], dtype=torch.int32),
        rows=torch.tensor([0], dtype=torch.int32),
        slot_table=runner.table,
        out_slots=runner.table[0, :12].long(),
        logit_rows=torch.arange(12),
    )
    hidden = model.hidden(batch, runner.kv)
    assert torch.equal(model.head(hidden), wanted)
    few = torch.tensor([5, 6, 90], dtype=torch.int32)
    found = sparse_head(hidden, model.weights.head, torch.arange(13, dtype=torch.int32) * 3, few.repeat(12))
    assert error(found.view(12, 3), wanted[:, few.long()]) < 1e-5


def test_a_step_without_wanted_logits_gives_none(backend: str, make_checkpoint: Make) -> None:
    runner = Runner(load(make_checkpoint("mistral-window")), 1)
    batch = Batch(
        token_ids=torch.tensor([5, 6, 7]),
        positions=torch.arange(3),
        query_start=torch.tensor([0, 3], dtype=torch.int32),
        context_len=torch.tensor([3], dtype=torch.int32),
        rows=torch.tensor([0], dtype=torch.int32),
        slot_table=runner.table,
        out_slots=runner.table[0, :3].long(),
        logit_rows=torch.empty(0, dtype=torch.int64),
    )
    assert runner.model.forward(batch, runner.kv).shape == (0, 97)
    assert torch.isfinite(runner.kv.k(2)[runner.table[0, :3].long()]).all()
