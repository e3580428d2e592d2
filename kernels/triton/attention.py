"""Attention over slots: one kernel for decode and extend, split over the keys, and one that joins the parts.

Legend as in `kernels.attention`, and G query heads of a KV head, U splits. A program takes one KV head, a tile of
queries of one sequence with all G heads (so that they share the reads of keys and values), and one split of the keys,
in blocks from position 0, by the online softmax (Milakov and Gimelshein, 2018; splits: Dao et al., 2023,
"Flash-decoding"). Who plans the tiles and splits is `attention_plan`. Products of float32 are three of TensorFloat-32
each, which keeps float32's accuracy.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from espalier.kernels.triton.attention_plan import Plan, plan_attention

NO_WINDOW = 2**31 - 1


@triton.jit
def _sequence_of(query_start, tile, num_sequences, QUERIES: tl.constexpr, PER_TOKEN: tl.constexpr):
    """The sequence of a tile: the last whose first tile is not after it.

    Tiles are tokens, or else sequence b's first tile is query_start[b] // QUERIES + b: some tiles stay empty, but
    nobody has to count the tokens of each sequence first.
    """
    low = 0
    high = num_sequences
    if PER_TOKEN:
        # Decode, as many tokens as sequences: token b is sequence b's, and no search is needed.
        guess = tl.minimum(tile, num_sequences - 1)
        if (tl.load(query_start + guess) == tile) & (tl.load(query_start + guess + 1) > tile):
            low = guess
            high = guess + 1
    while high - low > 1:
        middle = (low + high) // 2
        begin = tl.load(query_start + middle)
        if not PER_TOKEN:
            begin = begin // QUERIES + middle
        low = tl.where(begin <= tile, middle, low)
        high = tl.where(begin <= tile, high, middle)
    return low


@triton.jit
def _dot(a, b, total, WIDEN: tl.constexpr):
    """The product added to `total` float32. WIDEN is for triton's interpreter, which takes bfloat16 for integers."""
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision="tf32x3")


@triton.jit(do_not_specialize=["num_sequences", "first_token", "split"])
def attention_kernel(
    q, k_pool, v_pool, out, partial, log_sum, slot_table, rows, query_start, context_len,
    scale, window, split, first_token, num_sequences,
    q_token_stride, q_head_stride, slot_stride, pool_head_stride, table_stride,
    GROUP: tl.constexpr, QUERIES: tl.constexpr, PER_TOKEN: tl.constexpr, DIRECT: tl.constexpr,
    SIZE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """One KV head, one tile of queries, one split of `split` keys.

    DIRECT: there is one split, and the result goes to `out` [T, N, D]. Otherwise its mean goes to `partial` float32
    [T, N, U, D] and the base-2 logarithm of its sum of weights to `log_sum` [T, N, U], from `first_token` on.
    """
    kv_head = tl.program_id(0)
    tile = tl.program_id(1)
    unit = tl.program_id(2)
    if PER_TOKEN:
        tile += first_token
    b = _sequence_of(query_start, tile, num_sequences, QUERIES, PER_TOKEN)
    begin = tl.load(query_start + b)
    end = tl.load(query_start + b + 1)
    index = tile
    if not PER_TOKEN:
        index = begin + (tile - begin // QUERIES - b) * QUERIES
    count = tl.minimum(end - index, QUERIES)
    if count <= 0:
        return
    first = tl.load(context_len + b) - end + index
    lowest = tl.maximum(first - window + 1, 0)
    key_begin = tl.maximum(unit * split, lowest // BLOCK_KEYS * BLOCK_KEYS)
    key_end = tl.minimum(unit * split + split, first + count)
    if not DIRECT and key_begin >= key_end:
        return

    row = tl.arange(0, BLOCK_ROWS)
    size = tl.arange(0, BLOCK_SIZE)
    query = row // GROUP
    token = (index + query).to(tl.int64)
    head = kv_head * GROUP + row % GROUP
    num_heads = tl.num_programs(0) * GROUP
    is_used = (query < count)[:, None] & (size < SIZE)[None, :]
    q_place = q + token[:, None] * q_token_stride + head[:, None] * q_head_stride + size[None, :]
    q_tile = tl.load(q_place, mask=is_used, other=0.0)
    # Score = base-2 logarithm of a weight: exp2 is what the hardware has.
    factor = scale * 1.4426950408889634
    position = first + query
    table = slot_table + tl.load(rows + b).to(tl.int64) * table_stride
    k_head = k_pool + kv_head.to(tl.int64) * pool_head_stride
    v_head = v_pool + kv_head.to(tl.int64) * pool_head_stride
    best = tl.full([BLOCK_ROWS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_ROWS], tl.float32)
    mixed = tl.zeros([BLOCK_ROWS, BLOCK_SIZE], tl.float32)
    for start in range(key_begin, key_end, BLOCK_KEYS):
        key = start + tl.arange(0, BLOCK_KEYS)
        # Keys and values of other slots are never read: they may be NaN, and NaN times a weight of zero is NaN.
        is_there = (key >= lowest) & (key < key_end)
        slot = tl.load(table + key, mask=is_there, other=0).to(tl.int64) * slot_stride
        k_mask = is_there[None, :] & (size < SIZE)[:, None]
        k_tile = tl.load(k_head + slot[None, :] + size[:, None], mask=k_mask, other=0.0)
        nothing = tl.zeros([BLOCK_ROWS, BLOCK_KEYS], tl.float32)
        score = _dot(q_tile, k_tile.to(q_tile.dtype), nothing, WIDEN) * factor
        is_seen = (key[None, :] <= position[:, None]) & (key[None, :] > position[:, None] - window)
        score = tl.where(is_seen & is_there[None, :], score, float("-inf"))
        top = tl.maximum(best, tl.max(score, 1))
        # A row that has seen no key yet: minus infinity less itself is NaN.
        base = tl.where(top == float("-inf"), 0.0, top)
        weight = tl.exp2(score - base[:, None])
        keep = tl.exp2(best - base)
        total = total * keep + tl.sum(weight, 1)
        v_mask = is_there[:, None] & (size < SIZE)[None, :]
        v_tile = tl.load(v_head + slot[:, None] + size[None, :], mask=v_mask, other=0.0)
        mixed = _dot(weight.to(q_tile.dtype), v_tile.to(q_tile.dtype), mixed * keep[:, None], WIDEN)
        best = top

    mean = mixed / tl.where(total > 0, total, 1.0)[:, None]
    if DIRECT:
        place = (token * num_heads + head)[:, None] * SIZE + size[None, :]
        tl.store(out + place, mean.to(out.dtype.element_ty), mask=is_used)
    else:
        part = ((token - first_token) * num_heads + head) * tl.num_programs(2) + unit
        tl.store(partial + part[:, None] * SIZE + size[None, :], mean, mask=is_used)
        weight_of = tl.where(total > 0, best + tl.log2(tl.where(total > 0, total, 1.0)), float("-inf"))
        tl.store(log_sum + part, weight_of, mask=query < count)


@triton.jit(do_not_specialize=["num_sequences", "first_token", "split", "num_units"])
def join_kernel(
    partial, log_sum, out, query_start, context_len, window, split, num_units, first_token, num_sequences,
    SIZE: tl.constexpr, BLOCK_UNITS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    """One head of one token: the means of the splits that it sees, weighted by their sums, in order of position."""
    index = tl.program_id(0)
    head = tl.program_id(1)
    token = first_token + index
    b = _sequence_of(query_start, token, num_sequences, 1, True)
    last = tl.load(context_len + b) - tl.load(query_start + b + 1) + token
    unit_begin = tl.maximum(last - window + 1, 0) // split
    unit_end = (last + split) // split
    size = tl.arange(0, BLOCK_SIZE)
    part = (index.to(tl.int64) * tl.num_programs(1) + head) * num_units
    best = float("-inf")
    total = 0.0
    mixed = tl.zeros([BLOCK_SIZE], tl.float32)
    for start in range(unit_begin, unit_end, BLOCK_UNITS):
        unit = start + tl.arange(0, BLOCK_UNITS)
        is_there = unit < unit_end
        weight_of = tl.load(log_sum + part + unit, mask=is_there, other=float("-inf"))
        top = tl.maximum(best, tl.max(weight_of, 0))
        base = tl.where(top == float("-inf"), 0.0, top)
        weight = tl.exp2(weight_of - base)
        keep = tl.exp2(best - base)
        mask = is_there[:, None] & (size < SIZE)[None, :]
        mean = tl.load(partial + (part + unit)[:, None] * SIZE + size[None, :], mask=mask, other=0.0)
        total = total * keep + tl.sum(weight, 0)
        mixed = mixed * keep + tl.sum(mean * weight[:, None], 0)
        best = top
    place = (token.to(tl.int64) * tl.num_programs(1) + head) * SIZE + size
    mixed = mixed / tl.where(total > 0, total, 1.0)
    tl.store(out + place, mixed.to(out.dtype.element_ty), mask=size < SIZE)


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
    window: int | None,
    exact: bool,
) -> Tensor:
    """Attention [T, N, D]; arguments as in `kernels.attention`, and checked there."""
    num_tokens, num_heads, size = q_tnd.shape
    plan = plan_attention(
        num_tokens=num_tokens,
        num_sequences=len(rows),
        num_heads=num_heads,
        num_kv_heads=k_pool_smd.shape[1],
        size=size,
        width=slot_table.shape[1],
        is_float32=q_tnd.dtype == torch.float32,
        exact=exact,
    )
    q = q_tnd if q_tnd.stride(2) == 1 else q_tnd.contiguous()
    out = torch.empty((num_tokens, num_heads, size), dtype=q.dtype, device=q.device)
    for first in range(0, num_tokens, plan.tokens_at_once):
        tokens = min(plan.tokens_at_once, num_tokens - first)
        _launch(
            plan,
            q,
            k_pool_smd,
            v_pool_smd,
            out,
            slot_table,
            rows,
            query_start,
            context_len,
            first,
            tokens,
            scale,
            window,
        )
    return out


def _launch(
    plan: Plan,
    q: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    out: Tensor,
    slot_table: Tensor,
    rows: Tensor,
    query_start: Tensor,
    context_len: Tensor,
    first: int,
    tokens: int,
    scale: float,
    window: int | None,
) -> None:
    """The `tokens` tokens from `first` on."""
    num_heads, size = q.shape[1:]
    num_kv_heads, num_sequences = k_pool.shape[1], len(rows)
    is_direct, block_size = plan.num_splits == 1, max(16, triton.next_power_of_2(size))
    farthest = window or NO_WINDOW
    parts = (0 if is_direct else tokens, num_heads, plan.num_splits)
    partial = torch.empty((*parts, size), dtype=torch.float32, device=q.device)
    log_sum = torch.empty(parts, dtype=torch.float32, device=q.device)
    attention_kernel[num_kv_heads, plan.num_tiles(tokens, num_sequences), plan.num_splits](
        q, k_pool, v_pool, out, partial, log_sum, slot_table, rows, query_start, context_len,
        scale, farthest, plan.split, first, num_sequences,
        q.stride(0), q.stride(1), k_pool.stride(0), k_pool.stride(1), slot_table.stride(0),
        GROUP=num_heads // num_kv_heads, QUERIES=plan.queries, PER_TOKEN=plan.is_per_token, DIRECT=is_direct,
        SIZE=size, BLOCK_ROWS=plan.block_rows, BLOCK_KEYS=plan.block_keys, BLOCK_SIZE=block_size,
        WIDEN=q.device.type == "cpu", num_warps=plan.num_warps, num_stages=plan.num_stages,
    )  # fmt: skip
    if not is_direct:
        join_kernel[tokens, num_heads](
            partial, log_sum, out, query_start, context_len, farthest, plan.split, plan.num_splits, first,
            num_sequences, SIZE=size, BLOCK_UNITS=16, BLOCK_SIZE=block_size,
        )  # fmt: skip
