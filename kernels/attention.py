"""Attention of new tokens to the history in their slots.

Legend: T new tokens, B sequences, N query heads, M KV heads, D head size, S slots, L history of one sequence.
Sequence b owns the queries [query_start[b], query_start[b+1]); the last stands at position context_len[b] - 1. The
slot of its position p is slot_table[rows[b], p]. A window w lets position p see (p - w, p].
"""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from espalier.kernels import native
from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError

EXACT_BLOCK = 64


def _attend(q_tnd: Tensor, k_lmd: Tensor, v_lmd: Tensor, scale: float, window: int | None) -> Tensor:
    """One sequence: the queries are the last T of L positions."""
    t, length = len(q_tnd), len(k_lmd)
    position = torch.arange(length - t, length, device=q_tnd.device).unsqueeze(1)
    key = torch.arange(length, device=q_tnd.device)
    seen = key <= position
    if window is not None:
        seen &= key > position - window
    # Heads lead; a batch axis of one lets torch choose its fused kernels.
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q_tnd, k_lmd, v_lmd))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return out[0].transpose(0, 1)


def _attend_exact(q_tnd: Tensor, k_lmd: Tensor, v_lmd: Tensor, scale: float, window: int | None) -> Tensor:
    """As `_attend`, but each query's result depends on its own history alone.

    Every product is a sum over a trailing axis of fixed length, in blocks of keys from position 0, joined by the online
    softmax (Milakov and Gimelshein, 2018): no matrix library chooses an order by the number of queries.
    """
    t, length = len(q_tnd), len(k_lmd)
    group = q_tnd.shape[1] // k_lmd.shape[1]
    pad = -length % EXACT_BLOCK
    k_nld = F.pad(k_lmd, (0, 0, 0, 0, 0, pad)).repeat_interleave(group, 1).transpose(0, 1).float()
    v_nld = F.pad(v_lmd, (0, 0, 0, 0, 0, pad)).repeat_interleave(group, 1).transpose(0, 1).float()
    out = torch.empty(q_tnd.shape, dtype=torch.float32, device=q_tnd.device)
    for index in range(t):
        position = length - t + index
        first = 0 if window is None else max(0, position - window + 1)
        q = q_tnd[index].float().unsqueeze(1)
        best = torch.full((len(q), 1), float("-inf"), device=q.device)
        total, mixed = torch.zeros_like(best), torch.zeros_like(q[:, 0])
        for begin in range(0, position + 1, EXACT_BLOCK):
            end = begin + EXACT_BLOCK
            if end <= first:
                continue
            key = torch.arange(begin, end, device=q.device)
            seen = (key <= position) & (key >= first)
            score = ((k_nld[:, begin:end] * q).sum(-1) * scale).masked_fill(~seen, float("-inf"))
            top = torch.maximum(best, score.amax(-1, keepdim=True))
            weight, keep = (score - top).exp(), (best - top).exp()
            total = total * keep + weight.sum(-1, keepdim=True)
            mixed = mixed * keep + (v_nld[:, begin:end].transpose(1, 2).contiguous() * weight.unsqueeze(1)).sum(-1)
            best = top
        out[index] = mixed / total
    return out.to(q_tnd.dtype)


def paged_attention(
    q_tnd: Tensor,
    k_pool_smd: Tensor,
    v_pool_smd: Tensor,
    slot_table: Tensor,
    rows: Tensor,
    query_start: Tensor,
    context_len: Tensor,
    *,
    scale: float,
    window: int | None = None,
    exact: bool = False,
) -> Tensor:
    """Attention [T, N, D] of all sequences' new tokens, whose keys and values are already in the pool.

    `slot_table` int32 [rows, positions]; `rows`, `context_len` int32 [B]; `query_start` int32 [B+1]. The pools may have
    another dtype than the queries, and any strides with 1 as the last. With `exact` a query's result depends on its own
    history and, on a GPU, on the slot table's width, to the bit. On a GPU nobody looks at the values of the indices.
    """
    _check(q_tnd, k_pool_smd, v_pool_smd, window)
    if use_triton(q_tnd, k_pool_smd, v_pool_smd, slot_table, rows, query_start, context_len):
        from espalier.kernels.triton import attention as kernel

        _check_indices(slot_table, rows, query_start, context_len)
        return kernel.paged_attention(
            q_tnd, k_pool_smd, v_pool_smd, slot_table, rows, query_start, context_len,
            scale=scale, window=window, exact=exact,
        )  # fmt: skip
    if (library := _native_for(q_tnd, k_pool_smd, v_pool_smd)) is not None:
        pool = native.pool(k_pool_smd, v_pool_smd)
        sequences = native.sequences(slot_table, rows, query_start, context_len)
        return _attend_native(library, q_tnd.contiguous(), pool, sequences, scale, window, exact, k_pool_smd.shape[1])
    attend = _attend_exact if exact else _attend
    out = torch.empty_like(q_tnd)
    starts, lengths, places = query_start.tolist(), context_len.tolist(), rows.tolist()
    for b, (row, length) in enumerate(zip(places, lengths, strict=True)):
        begin, end = starts[b], starts[b + 1]
        slots = slot_table[row, :length].long()
        k_lmd, v_lmd = k_pool_smd[slots].to(q_tnd.dtype), v_pool_smd[slots].to(q_tnd.dtype)
        out[begin:end] = attend(q_tnd[begin:end], k_lmd, v_lmd, scale, window)
    return out


def _check(q_tnd: Tensor, k_pool_smd: Tensor, v_pool_smd: Tensor, window: int | None) -> None:
    k, v = ((tuple(x.shape), x.stride(), x.dtype) for x in (k_pool_smd, v_pool_smd))
    if k != v or k_pool_smd.ndim != 3 or k_pool_smd.stride(2) != 1 or not k_pool_smd.is_floating_point():
        raise KernelError(f"the pools are {k} and {v}: the same floats [S, M, D] with a last stride of 1 are needed")
    if q_tnd.ndim != 3 or q_tnd.shape[2] != k_pool_smd.shape[2] or not q_tnd.is_floating_point():
        raise KernelError(f"queries are {q_tnd.dtype} {tuple(q_tnd.shape)}, the pools {k}: floats [T, N, D] are needed")
    if q_tnd.shape[1] % k_pool_smd.shape[1]:
        raise KernelError(f"{q_tnd.shape[1]} query heads are no multiple of {k_pool_smd.shape[1]} KV heads")
    if window is not None and window < 1:
        raise KernelError(f"window is {window}, 1 or more, or None, is needed")


def _check_indices(slot_table: Tensor, rows: Tensor, query_start: Tensor, context_len: Tensor) -> None:
    """What `native.sequences` checks on the CPU: shapes, dtypes and strides."""
    named = {"slot_table": slot_table, "rows": rows, "query_start": query_start, "context_len": context_len}
    for name, index in named.items():
        if index.dtype != torch.int32 or index.stride(-1) != 1 or index.ndim != (2 if name == "slot_table" else 1):
            raise KernelError(f"{name} is {index.dtype} {tuple(index.shape)}: contiguous int32 is needed")
    if len(query_start) != len(rows) + 1 or len(context_len) != len(rows):
        raise KernelError(
            f"{len(rows)} rows, {len(query_start)} query starts and {len(context_len)} context lengths "
            "do not go together"
        )


def _native_for(q_tnd: Tensor, k_pool_smd: Tensor, v_pool_smd: Tensor) -> native.Library | None:
    """The library, if it takes these tensors."""
    if not native.is_plain(q_tnd) or q_tnd.shape[2] > native.MAX_HEAD_DIM:
        return None
    if q_tnd.shape[1] > native.MAX_GROUP * k_pool_smd.shape[1]:
        return None
    if k_pool_smd.stride() != v_pool_smd.stride() or k_pool_smd.stride(2) != 1:
        return None
    return native.library()


def _attend_native(
    library: native.Library,
    q_tnd: Tensor,
    pool: native.Pool,
    sequences: native.Sequences,
    scale: float,
    window: int | None,
    exact: bool,
    num_kv_heads: int,
) -> Tensor:
    out = torch.empty_like(q_tnd)
    fault = library.attention(
        ctypes.byref(sequences),
        ctypes.byref(pool),
        q_tnd.shape[1],
        num_kv_heads,
        q_tnd.shape[2],
        q_tnd.data_ptr(),
        len(q_tnd),
        out.data_ptr(),
        scale,
        window or 0,
        exact,
        torch.get_num_threads(),
    )
    native.check(fault)
    return out
