"""The first reading of a row of logits, cut into splits: what is known of each sub-block of 128 tokens afterwards."""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_row import load_blocks


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def most_of(x_n432):
    """The largest of each sub-block [N]; NaN where one is among them, and of the two zeros the positive one."""
    most = tl.reduce(tl.reduce(x_n432, 2, _larger), 1, _larger)
    return tl.where(most == 0, 0.0, most)


@triton.jit
def sum_of(x_n432, most_n, scale):
    """The sum of each sub-block's base-2 exponentials [N], scaled, beside that of its largest."""
    # Minus infinity less itself is NaN; what is NaN or plus infinity is refused anyway.
    base = tl.where(tl.abs(most_n) == float("inf"), 0.0, most_n)
    weight = tl.exp2((x_n432 - base[:, None, None]) * scale)
    return tl.sum(tl.sum(weight, axis=2), axis=1)


@triton.jit
def scan_blocks(
    x_row, words_row, patched_row, patch_row_value, begin, end, vocab, num_words, has_mask, has_patch, wants,
    heat, scale, block_most, block_sum, raw_most, raw_sum,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, HAS_LOGPROB: tl.constexpr, SCAN: tl.constexpr,
):  # fmt: skip
    """Write down largest logit and sum of the sub-blocks [begin, end), adjusted and, where wanted, as they came.

    Returns whether the mask allows any of these tokens, and the largest of those as it came (only where there are
    patches).
    """
    INF: tl.constexpr = float("inf")
    LOG2E: tl.constexpr = 1.4426950408889634
    some = tl.zeros([SCAN, 4], tl.int32)
    best_raw = tl.full([SCAN, 4, 32], -INF, tl.float32)
    for start in tl.range(begin, end, SCAN, num_stages=3):
        block = start + tl.arange(0, SCAN)
        live = block < end
        x, raw, words, _ = load_blocks(
            x_row, words_row, patched_row, patch_row_value, block, live, vocab, num_words, has_mask, has_patch, wants,
            HAS_MASK, HAS_PATCH,
        )  # fmt: skip
        some = some | words
        if HAS_PATCH:
            bits = words[:, :, None] & (1 << tl.arange(0, 32))[None, None, :]
            best_raw = tl.maximum(best_raw, tl.where(bits != 0, raw, -INF))
        most = most_of(x)
        tl.store(block_most + block, most, mask=live)
        if heat > 0:
            tl.store(block_sum + block, sum_of(x, most, scale), mask=live)
        if HAS_LOGPROB:  # noqa: SIM102 -- a constexpr decides what is compiled
            if wants:
                most = most_of(raw)
                tl.store(raw_most + block, most, mask=live)
                tl.store(raw_sum + block, sum_of(raw, most, LOG2E), mask=live)
    is_any = tl.max(tl.max((some != 0).to(tl.int32), axis=1), axis=0)
    return is_any, tl.max(tl.max(tl.max(best_raw, axis=2), axis=1), axis=0)
