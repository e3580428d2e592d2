"""Recorded steps against the model's own pass: what they compute is the same, however a step is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.batch import Batch
from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import read_config
from espalier.engine.kv_pool import KVPool
from espalier.engine.model import CausalLM
from espalier.engine.step_graph import CudaRecorder, StepGraphs, can_record
from espalier.engine.weights import Placement, load_model
from tests.kernels.interpreter import skip_without_triton

Make = Callable[..., Path]
POSITIONS, SLOTS, ROWS = 48, 300, 3
# New tokens of each row, step by step: alone, several of one row beside others, as many as fit, and fewer.
TRACE = ({0: 1}, {0: 3, 1: 1, 2: 4}, {0: 1, 1: 1, 2: 1}, {1: 7, 2: 1}, {0: 2})


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where the model runs; on the CPU a recording is the computation itself, run again."""
    name: str = request.param
    if name == "cuda":
        skip_without_triton(name)
    return name


def load(folder: Path, device: str) -> CausalLM:
    checkpoint = Checkpoint(folder)
    placement = Placement(device, torch.float32, "float32", False)
    return load_model(checkpoint, read_config(checkpoint.config), placement, POSITIONS)


def tokens_of(work: dict[int, int], lengths: NDArray[np.int32], table: NDArray[np.int32]) -> NDArray[np.int32]:
    positions = np.concatenate([lengths[row] + np.arange(count) for row, count in work.items()])
    rows = np.repeat(list(work), list(work.values()))
    ids = (7 * rows + 3 * positions) % 97
    return np.stack([ids, positions, rows, table[rows, positions]]).astype(np.int32)


def one_batch(tokens: NDArray[np.int32], work: dict[int, int], lengths: NDArray[np.int32], table: Tensor) -> Batch:
    """The step as the model takes it, with every token's hidden states wanted."""
    device, rows = table.device, np.array(list(work))
    start = np.concatenate([[0], np.cumsum(list(work.values()))])
    ends = lengths[rows] + np.array(list(work.values()))
    long = torch.from_numpy(tokens).long().to(device)
    return Batch(
        token_ids=long[0],
        positions=long[1],
        query_start=torch.from_numpy(start).int().to(device),
        context_len=torch.from_numpy(ends).int().to(device),
        rows=torch.from_numpy(rows).int().to(device),
        slot_table=table,
        out_slots=long[3],
        logit_rows=torch.arange(tokens.shape[1], device=device),
    )


@pytest.mark.parametrize("case", ["llama-tied", "qwen3-window"])
def test_a_recorded_step_computes_what_the_model_does(case: str, device: str, make_checkpoint: Make) -> None:
    model = load(make_checkpoint(case), device)
    assert can_record(model)
    mine, theirs = (KVPool(model.config, SLOTS, device=device, dtype=model.dtype) for _ in range(2))
    for kv in (mine, theirs):
        kv.poison(torch.arange(SLOTS, device=device))
    slots = np.random.default_rng(0).permutation(SLOTS)[: ROWS * POSITIONS].astype(np.int32).reshape(ROWS, POSITIONS)
    told = torch.full((ROWS + 1, POSITIONS), mine.spare_slot, dtype=torch.int32, device=device)
    whole = torch.from_numpy(slots).to(device)
    record = CudaRecorder() if device == "cuda" else lambda run: run
    graphs = StepGraphs(model, mine, told, record, (1, 2, 4, 8))
    lengths = np.zeros(ROWS, dtype=np.int32)
    for work in TRACE:
        tokens = tokens_of(work, lengths, slots)
        found = graphs.hidden(tokens).clone()
        wanted = model.hidden(one_batch(tokens, work, lengths, whole), theirs)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        lengths[list(work)] += np.array(list(work.values()), dtype=np.int32)


def test_a_recording_holds_as_many_tokens_as_the_largest_size(make_checkpoint: Make) -> None:
    model = load(make_checkpoint("llama-tied"), "cpu")
    kv = KVPool(model.config, 8, device="cpu", dtype=model.dtype)
    table = torch.full((2, POSITIONS), kv.spare_slot, dtype=torch.int32)
    graphs = StepGraphs(model, kv, table, lambda run: run, (1, 4))
    assert graphs.holds(4) and not graphs.holds(5)


def test_experts_are_not_recorded(make_checkpoint: Make) -> None:
    assert not can_record(load(make_checkpoint("qwen3-moe"), "cpu"))
