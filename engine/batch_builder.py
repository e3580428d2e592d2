"""From a step's plan to the tensors the model takes. Legend as in `batch`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.batch import Batch
from espalier.engine.scheduler import Work


class BatchBuilder:
    """Builds batches over one slot table; on the CPU tensors share memory with numpy, on a GPU they are copied."""

    def __init__(self, slot_table: NDArray[np.int32], device: str) -> None:
        self._table, self._device = slot_table, device
        self._table_tensor = torch.from_numpy(slot_table).to(device)

    def build(self, plan: list[Work]) -> Batch:
        """The batch of a plan; rows of logits come in the order of the works that want them."""
        counts = np.array([work.end - work.begin for work in plan], dtype=np.int32)
        query_start = np.zeros(len(plan) + 1, dtype=np.int32)
        np.cumsum(counts, out=query_start[1:])
        rows = np.array([work.sequence.row for work in plan], dtype=np.int32)
        ends = np.array([work.end for work in plan], dtype=np.int32)
        wanted = np.array([work.wants_logits for work in plan], dtype=bool)
        positions = np.arange(query_start[-1], dtype=np.int64) - np.repeat(query_start[:-1] - (ends - counts), counts)
        if len(positions) == len(plan):
            token_ids = np.array([work.sequence.tokens[work.begin] for work in plan], dtype=np.int64)
        else:
            token_ids = np.concatenate([work.sequence.ids(work.begin, work.end) for work in plan]).astype(np.int64)
        out_slots = self._table[np.repeat(rows, counts), positions].astype(np.int64)
        return Batch(
            token_ids=self._move(token_ids),
            positions=self._move(positions),
            query_start=self._move(query_start),
            context_len=self._move(ends),
            rows=self._move(rows),
            slot_table=self._table_on_device(rows, ends),
            out_slots=self._move(out_slots),
            logit_rows=self._move((query_start[1:][wanted] - 1).astype(np.int64)),
        )

    def _move(self, array: NDArray[np.int64] | NDArray[np.int32]) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)

    def _table_on_device(self, rows: NDArray[np.int32], ends: NDArray[np.int32]) -> Tensor:
        if self._device != "cpu":
            # Only what this step reads travels.
            used = int(ends.max())
            index = torch.from_numpy(rows).long().to(self._device)
            self._table_tensor[index, :used] = torch.from_numpy(self._table[rows, :used]).to(self._device)
        return self._table_tensor
