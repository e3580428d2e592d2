"""From a step's plan to the tensors the model takes. Legend as in `batch`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.batch import Batch
from espalier.engine.work import Work, logit_rows


class BatchBuilder:
    """Builds batches over one slot table; on the CPU tensors share memory with numpy, on a GPU they are copied.

    `slot_table` is what the device has of it. On a GPU it has one row to spare, which says `spare_slot`.
    """

    def __init__(self, slot_table: NDArray[np.int32], device: str, spare_slot: int) -> None:
        self._table, self._device = slot_table, device
        if device == "cpu":
            self.slot_table = torch.from_numpy(slot_table)
        else:
            rows, positions = slot_table.shape
            self.slot_table = torch.zeros(rows + 1, positions, dtype=torch.int32, device=device)
            self.slot_table[rows] = spare_slot

    def build(self, plan: list[Work]) -> Batch:
        """The batch of a plan; rows of logits come in the order of `logit_rows`."""
        tokens = self.tokens(plan)
        counts = np.array([work.end - work.begin for work in plan], dtype=np.int32)
        query_start = np.zeros(len(plan) + 1, dtype=np.int32)
        np.cumsum(counts, out=query_start[1:])
        self.send_rows(plan)
        return Batch(
            token_ids=self._move(tokens[0].astype(np.int64)),
            positions=self._move(tokens[1].astype(np.int64)),
            query_start=self._move(query_start),
            context_len=self._move(np.array([work.end for work in plan], dtype=np.int32)),
            rows=self._move(np.array([work.sequence.row for work in plan], dtype=np.int32)),
            slot_table=self.slot_table,
            out_slots=self._move(tokens[3].astype(np.int64)),
            logit_rows=self._move(logit_rows(plan)),
            are_last=not any(work.drafts for work in plan),
        )

    def tokens(self, plan: list[Work]) -> NDArray[np.int32]:
        """Of each new token, end to end, a column int32 [4]: its id, its position, its row of the table, its slot."""
        # In lists: a step has many works of one token, and numpy takes longer for each than all of this.
        token_ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        for sequence, begin, end, _ in plan:
            if end - begin == 1:
                token_ids.append(sequence.tokens.item(begin))
                positions.append(begin)
                rows.append(sequence.row)
            else:
                token_ids += sequence.ids(begin, end).tolist()
                positions += range(begin, end)
                rows += [sequence.row] * (end - begin)
        found = np.empty((4, len(rows)), dtype=np.int32)
        found[0], found[1], found[2] = token_ids, positions, rows
        found[3] = self._table[found[2], found[1]]
        return found

    def send_rows(self, plan: list[Work]) -> None:
        """Tell the device all of the plan's rows of the table, as far as this step reads them."""
        if self._device != "cpu" and plan:
            rows, used = [work.sequence.row for work in plan], max(work.end for work in plan)
            self.slot_table[torch.tensor(rows, device=self._device), :used] = self._move(self._table[rows, :used])

    def _move(self, array: NDArray[np.int64] | NDArray[np.int32]) -> Tensor:
        there = torch.from_numpy(array)
        return there if self._device == "cpu" else there.to(self._device, non_blocking=True)
