"""One step's input to the model: the new tokens of all scheduled requests, end to end, and where their KV lies.

Legend: T new tokens of the step, B requests in it, R rows of logits wanted, L longest context, S slots of the pool.
Request b owns the new tokens [query_start[b], query_start[b+1]); the last of them stands at position
context_len[b] - 1. The KV of position p of request b lies in slot slot_table[rows[b], p].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step, on the model's device.

    `token_ids`, `positions`, `out_slots`: int64 [T]. `query_start`: int32 [B+1]. `context_len`: int32 [B], new tokens
    included. `rows`: int32 [B], rows of `slot_table`: int32 [max_running, L], kept from step to step. `logit_rows`:
    int64 [R], rising indices into T whose logits are wanted. `are_last`: each of those is known
    to be the last of its request.
    """

    token_ids: Tensor
    positions: Tensor
    query_start: Tensor
    context_len: Tensor
    rows: Tensor
    slot_table: Tensor
    out_slots: Tensor
    logit_rows: Tensor
    are_last: bool = False
