"""The first reading of a row of logits, cut into splits: what is known of each sub-block of 128 tokens afterwards."""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_row import load_blocks


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def most_of(x_4n32):
    """The largest of each sub-block [N]; NaN where one is among them, and of the two zeros the positive one."""
    most = tl.reduce(tl.reduce(x_4n32, 2, _larger), 0, _larger)
    return tl.where(most == 0, 0.0, most)


@triton.jit
def sum_of(x_4n32, most_n, scale):
    """The sum of each sub-block's base-2 exponentials [N], scaled, beside that of its largest."""
    weight = tl.exp2((x_4n32 - base_of(most_n)[None, :, None]) * scale)
    return tl.sum(tl.sum(weight, axis=2), axis=0)


@triton.jit
def base_of(most_n):
    """What a sub-block's exponentials are beside: its largest."""
    # Minus infinity less itself is NaN; what is NaN or plus infinity is refused anyway.
    return tl.where(tl.abs(most_n) == float("inf"), 0.0, most_n)


@triton.jit
def write_blocks(x_4n32, block, live, wants_sum, scale, block_most, block_sum):
    """Write down largest logit and, of a row that wants it, sum of the sub-blocks."""
    most = most_of(x_4n32)
    tl.store(block_most + block, most, mask=live)
    if wants_sum:
        tl.store(block_sum + block, sum_of(x_4n32, most, scale), mask=live)


@triton.jit
def write_words(a_n32, b_n32, c_n32, d_n32, block, wants_sum, scale, block_most, block_sum):
    """The same of whole sub-blocks, by their four words."""
    most = tl.reduce(_larger(_larger(a_n32, b_n32), _larger(c_n32, d_n32)), 1, _larger)
    most = tl.where(most == 0, 0.0, most)
    tl.store(block_most + block, most)
    if wants_sum:
        base = base_of(most)[:, None]
        weight = tl.exp2((a_n32 - base) * scale) + tl.exp2((b_n32 - base) * scale)
        weight += tl.exp2((c_n32 - base) * scale) + tl.exp2((d_n32 - base) * scale)
        tl.store(block_sum + block, tl.sum(weight, axis=1))


@triton.jit
def scan_blocks(
    x_row, words_row, patched_row, patch_row_value, begin, end, vocab, num_words, has_mask, has_patch, wants,
    wants_sum, scale, block_most, block_sum, raw_most, raw_sum,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, HAS_LOGPROB: tl.constexpr, SCAN: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Write down largest logit and sum of the sub-blocks [begin, end), adjusted and, where wanted, as they came.

    Returns whether the mask allows any of these tokens, and the largest of those as it came (only where there are
    patches).
    """
    INF: tl.constexpr = float("inf")
    LOG2E: tl.constexpr = 1.4426950408889634
    # Whole tiles that nothing forbids or changes, [begin, middle), need no conditions. They are read word by word, so
    # that few threads share a sub-block: adding up among threads would cost more than the rest.
    middle = tl.maximum(tl.minimum(end, vocab // 128) - begin, 0) // SCAN * SCAN + begin
    middle = tl.where(has_patch, begin, middle)
    if HAS_MASK:
        middle = tl.where(has_mask, begin, middle)
    tile = tl.arange(0, SCAN)[:, None] * 128 + tl.arange(0, 32)[None, :]
    for start in tl.range(begin, middle, SCAN, num_stages=STAGES):
        block = start + tl.arange(0, SCAN)
        at = x_row + start * 128 + tile
        a, b = tl.load(at).to(tl.float32), tl.load(at + 32).to(tl.float32)
        c, d = tl.load(at + 64).to(tl.float32), tl.load(at + 96).to(tl.float32)
        write_words(a, b, c, d, block, wants_sum, scale, block_most, block_sum)
        if HAS_LOGPROB:  # noqa: SIM102 -- a constexpr decides what is compiled
            if wants:
                write_words(a, b, c, d, block, True, LOG2E, raw_most, raw_sum)
    some = tl.zeros([4, SCAN], tl.int32)
    best_raw = tl.full([4, SCAN, 32], -INF, tl.float32)
    for start in tl.range(middle, end, SCAN, num_stages=STAGES if HAS_MASK and not HAS_PATCH else 1):
        block = start + tl.arange(0, SCAN)
        live = block < end
        x, raw, words, at = load_blocks(
            x_row, words_row, patched_row, patch_row_value, block, live, vocab, num_words, has_mask, has_patch, wants,
            HAS_MASK, HAS_PATCH,
        )  # fmt: skip
        some = some | words
        if HAS_PATCH:
            bits = words[:, :, None] & (1 << tl.arange(0, 32))[None, None, :]
            best_raw = tl.maximum(best_raw, tl.where(bits != 0, raw, -INF))
        write_blocks(x, block, live, wants_sum, scale, block_most, block_sum)
        if HAS_LOGPROB:  # noqa: SIM102
            if wants:
                raw = tl.where(at < vocab, raw, -INF)
                write_blocks(raw, block, live, True, LOG2E, raw_most, raw_sum)
    is_any = tl.max(tl.max((some != 0).to(tl.int32), axis=0), axis=0) | (middle > begin).to(tl.int32)
    return is_any, tl.max(tl.max(tl.max(best_raw, axis=0), axis=1), axis=0)
