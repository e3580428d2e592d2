"""Which rows are sparse, and that their logits are those of the whole head."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from espalier.engine import EngineOptions
from espalier.engine.loader import Loaded, load
from espalier.engine.output_head import OutputHead, sparse_rows
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint

FEW = np.array([3, 40, 999], dtype=np.int32)
MANY = np.arange(2000, dtype=np.int32)


@pytest.fixture(scope="module", params=["float32", "int8"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    shape = dataclasses.replace(SHAPES["tiny"], vocab=4096)
    folder = write_random_checkpoint(tmp_path_factory.mktemp("wide"), shape)
    return load(EngineOptions(model=str(folder), weights=request.param, kv_memory_bytes=2**20, threads=1))


def test_a_cpu_saves_row_by_row_where_it_is_worth_a_call() -> None:
    assert sparse_rows([FEW, None, FEW, MANY], 50_000, 1000, "cpu") == [0, 2]
    assert sparse_rows([FEW, None], 3000, 100, "cpu") == []
    assert sparse_rows([None, None], 50_000, 1000, "cpu") == []


def test_a_gpu_saves_only_where_all_rows_are_sparse() -> None:
    assert sparse_rows([FEW, FEW], 50_000, 1000, "cuda") == [0, 1]
    assert sparse_rows([FEW, None], 50_000, 1000, "cuda") == []


def test_sparse_logits_are_those_of_the_whole_head_step_after_step(loaded: Loaded) -> None:
    head, generator = OutputHead(loaded.model, "cpu"), torch.Generator().manual_seed(0)
    for rows in (3, 1, 5):
        hidden = torch.randn(rows, loaded.model.config.hidden_size, generator=generator)
        few = [None if row == 1 else np.sort((FEW + 17 * row) % 4096) for row in range(rows)]
        sparse = [row for row, tokens in enumerate(few) if tokens is not None]
        whole = loaded.model.head(hidden)
        groups = head.groups(hidden, few, sparse)
        assert sorted(row for group in groups for row in group.rows) == list(range(rows))
        for group in groups:
            for row, logits in zip(group.rows, group.logits, strict=True):
                tokens = few[row]
                wanted = slice(None) if tokens is None else torch.from_numpy(tokens).long()
                assert torch.equal(logits[wanted], whole[row][wanted])
    assert head.num_sparse == 2 + 1 + 4
