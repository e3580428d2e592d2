"""Fused sampling: two launches for the whole batch. Legend and semantics as in `kernels.sampling`.

The first one reads the logits once, rows cut into splits, for the largest logit and the sum of exponentials of each
sub-block of 128 tokens; sub-blocks that the mask forbids are not read. The second one has a program for each row: from
those numbers it is known which sub-blocks matter, and those alone are read again: one for a greedy or a plain draw; for
min-p, those that reach its floor; for top-k, those that reach the k-th largest of the sub-blocks' maxima, which no k-th
best logit is below; for top-p, those above a bound that what is left out can't exceed. What is above the bound goes
into a list. If that is short, each of it is compared with each, and the token drawn (`sampling_rank`); else the cut is
found by bisection, `WAYS` at a time, over the order of the floats' bits. Only where the list does not hold it (top-p of
flat logits, thousands of equals, a top_k in the thousands) each round of the bisection reads the sub-blocks above the
bound again. From sm_90 on the second launch takes its place while the first one runs.

No atomics on floats, no order that depends on scheduling: the same arguments give the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from espalier.kernels.sampling_settings import Sampled, Settings
from espalier.kernels.triton.sampling_cut import SHORT, draw_listed, find_cut
from espalier.kernels.triton.sampling_key import key_of, value_of
from espalier.kernels.triton.sampling_list import list_above
from espalier.kernels.triton.sampling_rank import RANKED, draw_ranked
from espalier.kernels.triton.sampling_row import draw_block, first_of, is_patched, patch_row, weigh
from espalier.kernels.triton.sampling_scan import scan_blocks
from espalier.kernels.triton.sampling_top import write_top

SCAN = 32
"""Sub-blocks read at once by the first launch; a split has at least so many."""
TILE = 16
"""Sub-blocks weighed at once by the second one."""
PROGRAMS = 512
"""The first launch cuts rows into splits up to so many programs: about four for each multiprocessor of a large GPU."""
LEAST_BLOCKS = 512
"""Places for sub-blocks that a row has at least: all smaller vocabularies are sampled by one kernel."""
SCAN_WARPS = 4
STAGES = 3
"""Tiles that are on their way at once in the first launch."""
DRAW_REGISTERS = 255
"""Of a thread of the second launch: left to itself the assembler spills some for more rows at once than there are."""
CHAINED = True
"""Whether the second launch takes its place while the first one runs (from sm_90 on)."""


@triton.jit
def sample_kernel(
    logits, row_stride, vocab, temperature, top_k, top_p, min_p, uniform,
    mask, mask_stride, num_words, is_masked,
    seen_start, seen_token, seen_value, repetition, presence, frequency,
    bias_start, bias_token, bias_value, patched, patch_value,
    wants_logprob, num_top, floats, integers, split_blocks, num_splits,
    token_out, is_valid_out, is_blocked_out, logprob_out, top_token_out, top_logprob_out,
    HAS_MASK: tl.constexpr, SOME_MASKED: tl.constexpr, HAS_SEEN: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_LOGPROB: tl.constexpr, TOP: tl.constexpr, BLOCKS: tl.constexpr, LIST: tl.constexpr, TILE: tl.constexpr,
    SCAN: tl.constexpr, SHIFT: tl.constexpr, STAGES: tl.constexpr, IS_FIRST: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """Read one split of one row or, in the second launch, draw the row's token.

    `floats` and `integers` are working memory, see `sample_fused`.
    """
    row = tl.program_id(1).to(tl.int64)
    HAS_PATCH: tl.constexpr = HAS_SEEN or HAS_BIAS
    LOG2E: tl.constexpr = 1.4426950408889634
    num_blocks = (vocab + 127) // 128
    x_row = logits + row * row_stride
    block_most = floats + row * (5 * BLOCKS + LIST)
    block_sum, raw_most, raw_sum = block_most + BLOCKS, block_most + 2 * BLOCKS, block_most + 3 * BLOCKS
    split_raw, list_value = block_most + 4 * BLOCKS, block_most + 5 * BLOCKS
    chosen_blocks = integers + row * (3 * BLOCKS + LIST)
    block_equal, split_any, list_token = chosen_blocks + BLOCKS, chosen_blocks + 2 * BLOCKS, chosen_blocks + 3 * BLOCKS
    # What is not there is not read either.
    words_row, patched_row, patch_row_value = chosen_blocks, chosen_blocks, block_most
    if HAS_MASK:
        words_row = mask + row * mask_stride
    has_mask = row >= 0
    if SOME_MASKED:
        has_mask = tl.load(is_masked + row) != 0
    wants = row < 0
    if HAS_LOGPROB:
        wants = tl.load(wants_logprob + row) != 0
    heat = tl.load(temperature + row)
    scale = tl.where(heat > 0, LOG2E / tl.maximum(heat, 1e-20), 1.0)

    has_patch = row < 0
    if HAS_PATCH:
        patched_row, patch_row_value = patched + row * ((vocab + 31) // 32), patch_value + row * vocab
        has_patch = is_patched(row, seen_start, bias_start, HAS_SEEN, HAS_BIAS)
    if IS_FIRST:
        if CHAINED:
            # The second launch may take place, and wait.
            gdc_launch_dependents()
        # Who takes the k best weighs those alone.
        k = tl.load(top_k + row)
        wants_sum = (heat > 0) & ((k <= 0) | (k >= vocab))
        split = tl.program_id(0)
        # Blocks [first, last).
        first = split * split_blocks
        last = tl.minimum(first + split_blocks, num_blocks)
        if HAS_PATCH:
            patch_row(
                x_row, row, seen_start, seen_token, seen_value, repetition, presence, frequency,
                bias_start, bias_token, bias_value, patched_row, patch_row_value, first * 128,
                tl.minimum(last * 128, vocab), has_patch, HAS_SEEN, HAS_BIAS,
            )  # fmt: skip
        is_any, best_raw = scan_blocks(
            x_row, words_row, patched_row, patch_row_value, first, last, vocab, num_words, has_mask, has_patch, wants,
            wants_sum, scale, block_most, block_sum, raw_most, raw_sum, HAS_MASK, HAS_PATCH, HAS_LOGPROB, SCAN, STAGES,
        )  # fmt: skip
        tl.store(split_any + split, is_any)
        tl.store(split_raw + split, best_raw)
    else:
        finish_row(
            row, x_row, vocab, temperature, top_k, top_p, min_p, uniform, words_row, num_words, has_mask, has_patch,
            patched_row, patch_row_value, wants, num_top, num_splits, num_blocks, heat, scale,
            block_most, block_sum, raw_most, raw_sum, split_raw, list_value,
            chosen_blocks, block_equal, split_any, list_token,
            token_out, is_valid_out, is_blocked_out, logprob_out, top_token_out, top_logprob_out,
            HAS_MASK, HAS_PATCH, HAS_LOGPROB, TOP, BLOCKS, LIST, TILE, SHIFT, CHAINED,
        )  # fmt: skip


@triton.jit
def finish_row(
    row, x_row, vocab, temperature, top_k, top_p, min_p, uniform, words_row, num_words, has_mask, has_patch,
    patched_row, patch_row_value, wants, num_top, num_splits, num_blocks, heat, scale,
    block_most, block_sum, raw_most, raw_sum, split_raw, list_value,
    chosen_blocks, block_equal, split_any, list_token,
    token_out, is_valid_out, is_blocked_out, logprob_out, top_token_out, top_logprob_out,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, HAS_LOGPROB: tl.constexpr, TOP: tl.constexpr,
    BLOCKS: tl.constexpr, LIST: tl.constexpr, TILE: tl.constexpr, SHIFT: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """From what is known of a row's sub-blocks to its token."""
    # Read before it is known whether they are needed, and before the wait: all that comes after it is a chain.
    k, p, least_p, share = tl.load(top_k + row), tl.load(top_p + row), tl.load(min_p + row), tl.load(uniform + row)
    k = tl.where(k < vocab, k, 0)
    if CHAINED:
        gdc_wait()
    LOG2E: tl.constexpr = 1.4426950408889634
    INF: tl.constexpr = float("inf")
    if HAS_LOGPROB:
        tl.store(logprob_out + row, float("nan"))
        if TOP > 0:
            place = tl.arange(0, TOP)
            tl.store(top_token_out + row * num_top + place, tl.full([TOP], -1, tl.int64), mask=place < num_top)
            tl.store(
                top_logprob_out + row * num_top + place, tl.full([TOP], float("nan"), tl.float32), mask=place < num_top
            )
    index = tl.arange(0, BLOCKS)
    most_b = tl.load(block_most + index, mask=index < num_blocks, other=-INF)
    sum_b = tl.load(block_sum + index, mask=tl.where((heat > 0) & (k <= 0), index < num_blocks, False), other=0.0)
    # The largest, and the first sub-block that has it; NaN is above everything.
    order_b = tl.where(most_b == most_b, key_of(most_b, 0), 2147483647)
    found = tl.max((order_b.to(tl.int64) << 32) | (BLOCKS - 1 - index), axis=0)
    best = value_of((found >> 32).to(tl.int32), 0)
    is_valid = (best < INF) & (best > -INF)
    is_blocked = row < 0
    if best == -INF:
        is_blocked = tl.max(tl.load(split_any + index, mask=index < num_splits, other=0), axis=0) == 0
        if HAS_PATCH:
            # Bias has banned what was left.
            raw_best = tl.max(tl.load(split_raw + index, mask=index < num_splits, other=-INF), axis=0)
            is_blocked = is_blocked | (raw_best > -INF)
    token = tl.full([], 0, tl.int32)
    if is_valid & (heat > 0):
        token = draw_row(
            x_row, vocab, k, p, least_p, share, words_row, num_words, has_mask, has_patch, patched_row,
            patch_row_value, heat, scale, block_sum, list_value, chosen_blocks, block_equal, list_token, most_b, sum_b,
            best, HAS_MASK, HAS_PATCH, BLOCKS, LIST, TILE, SHIFT,
        )  # fmt: skip
    elif is_valid:
        block = BLOCKS - 1 - (found & 0x7FFFFFFF).to(tl.int32)
        token = first_of(
            x_row, words_row, patched_row, patch_row_value, vocab, num_words, has_mask, has_patch, block, best,
            HAS_MASK, HAS_PATCH,
        )  # fmt: skip

    if HAS_LOGPROB:  # noqa: SIM102
        if wants:
            raw_most_b = tl.load(raw_most + index, mask=index < num_blocks, other=-INF)
            raw_sum_b = tl.load(raw_sum + index, mask=index < num_blocks, other=0.0)
            raw_best = tl.max(raw_most_b, axis=0)
            factor = tl.exp2((tl.where(raw_most_b == -INF, raw_best, raw_most_b) - raw_best) * LOG2E)
            whole = raw_best + tl.log(tl.sum(raw_sum_b * factor, axis=0))
            is_valid = is_valid & (whole < INF)
            if is_valid:
                tl.store(logprob_out + row, tl.load(x_row + token).to(tl.float32) - whole)
                if TOP > 0:
                    write_top(
                        x_row, vocab, raw_most_b, raw_best, whole, list_value, list_token, chosen_blocks, block_equal,
                        num_top, top_token_out + row * num_top, top_logprob_out + row * num_top, BLOCKS, LIST, TOP,
                        SHIFT,
                    )  # fmt: skip
    token = tl.where(is_valid, token, 0)
    tl.store(token_out + row, token.to(tl.int64))
    tl.store(is_valid_out + row, is_valid)
    tl.store(is_blocked_out + row, is_blocked)


@triton.jit
def draw_row(
    x_row, vocab, k, p, least_p, share, words_row, num_words, has_mask, has_patch, patched_row,
    patch_value, heat, scale, block_sum, list_value, chosen_blocks, block_equal, list_token, most_b, sum_b, best,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, BLOCKS: tl.constexpr, LIST: tl.constexpr, TILE: tl.constexpr,
    SHIFT: tl.constexpr,
):  # fmt: skip
    """The token of a row that is not greedy, and whose best logit is a number."""
    INF: tl.constexpr = float("inf")
    mass_b = sum_b * tl.exp2((tl.where(most_b == -INF, best, most_b) - best) * scale)
    equal_b = tl.zeros([BLOCKS], tl.int32)
    # p >= min_p times the largest p, said of logits.
    floor = tl.where(least_p > 0, best + heat * tl.log(tl.maximum(least_p, 1e-37)), -INF)
    ties = tl.full([], 2147483647, tl.int32)
    num_listed = tl.full([], 2147483647, tl.int32)
    target = tl.full([], -1.0, tl.float64)
    if (k > 0) | (p < 1) | (floor > -INF):
        num_listed, num_chosen, low, target = list_above(
            x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
            chosen_blocks, block_equal, most_b, mass_b, best, scale, floor, k, p, HAS_MASK, HAS_PATCH, BLOCKS, LIST,
            SHIFT,
        )  # fmt: skip
        if num_listed > RANKED:
            floor, ties = find_cut(
                x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value,
                chosen_blocks, num_listed, num_chosen, low, target, best, scale, floor, k, p, HAS_MASK, HAS_PATCH, LIST,
                SHIFT,
            )  # fmt: skip
            if num_listed > SHORT:
                mass_b, equal_b = weigh(
                    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, block_sum,
                    block_equal, chosen_blocks, most_b, best, scale, floor, HAS_MASK, HAS_PATCH, BLOCKS, TILE,
                )  # fmt: skip
    if num_listed <= RANKED:
        token = draw_ranked(list_value, list_token, num_listed, best, scale, k, p, target, share)
    elif num_listed <= SHORT:
        token = draw_listed(list_value, list_token, num_listed, best, scale, floor, ties, share)
    else:
        token = draw_block(
            x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, mass_b, equal_b, best,
            scale, floor, ties, share, HAS_MASK, HAS_PATCH, BLOCKS,
        )  # fmt: skip
    return token


LIST = 4096
"""Logits that a row's list holds."""
# Low bits that a logit's float32 has not.
SHIFTS = {torch.float32: 0, torch.bfloat16: 16, torch.float16: 13}


def draw_warps(blocks: int) -> int:
    """Warps of a program of the second launch: few, since what goes on among them has to be waited for, but with fewer
    the registers of the larger ones spill.
    """
    return 4 if blocks <= 2048 else 8


def sample_fused(logits_rv: Tensor, settings: Settings) -> Sampled:
    """See `sampling.sample`; nothing here waits for the device, so that a CUDA graph can hold it."""
    rows, vocab = logits_rv.shape
    device = logits_rv.device
    wants, num_top = settings.wants_logprob, min(settings.num_top, vocab)
    has_patch = settings.seen is not None or settings.bias is not None
    blocks = max(LEAST_BLOCKS, triton.next_power_of_2(triton.cdiv(vocab, 128)))
    top = triton.next_power_of_2(num_top) if num_top else 0
    token = torch.empty(rows, dtype=torch.int64, device=device)
    is_valid, is_blocked = (torch.empty(rows, dtype=torch.bool, device=device) for _ in range(2))
    logprob = top_token = top_logprob = None
    if wants is not None:
        logprob = torch.empty(rows, device=device)
        top_token = torch.empty(rows, num_top, dtype=torch.int64, device=device)
        top_logprob = torch.empty(rows, num_top, device=device)
    # Of each row: largest logit and sum of each sub-block, adjusted and as they came, the largest as it came of each
    # split, and the list's logits; the chosen sub-blocks, how many of each equal the floor (before that, the words
    # that are to be listed), whether a split has a token that is allowed, and the list's tokens.
    floats = torch.empty(rows, 5 * blocks + LIST, device=device)
    integers = torch.empty(rows, 3 * blocks + LIST, dtype=torch.int32, device=device)
    patched = torch.empty(rows, triton.cdiv(vocab, 32), dtype=torch.int32, device=device) if has_patch else None
    patch_value = torch.empty(rows, vocab, device=device) if has_patch else None
    mask, seen, bias = settings.mask, settings.seen, settings.bias
    num_blocks = triton.cdiv(vocab, 128)
    # Whole tiles, so that what is added up together does not depend on the number of rows.
    split_blocks = SCAN * triton.cdiv(triton.cdiv(num_blocks, SCAN), triton.cdiv(PROGRAMS, rows))
    num_splits = triton.cdiv(num_blocks, split_blocks)
    chained = CHAINED and logits_rv.is_cuda and torch.cuda.get_device_capability(device)[0] >= 9
    for is_first in (True, False):
        sample_kernel[num_splits if is_first else 1, rows](
            logits_rv, logits_rv.stride(0), vocab,
            settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.uniform,
            mask, 0 if mask is None else mask.stride(0), 0 if mask is None else mask.shape[1], settings.is_masked,
            *((None, None, None) if seen is None else (seen.start, seen.token, seen.value)),
            settings.repetition, settings.presence, settings.frequency,
            *((None, None, None) if bias is None else (bias.start, bias.token, bias.value)),
            patched, patch_value, wants, num_top, floats, integers, split_blocks, num_splits,
            token, is_valid, is_blocked, logprob, top_token, top_logprob,
            HAS_MASK=mask is not None, SOME_MASKED=settings.is_masked is not None, HAS_SEEN=seen is not None,
            HAS_BIAS=bias is not None, HAS_LOGPROB=wants is not None, TOP=top, BLOCKS=blocks, LIST=LIST, TILE=TILE,
            SCAN=SCAN, SHIFT=SHIFTS[logits_rv.dtype], STAGES=STAGES, IS_FIRST=is_first,
            CHAINED=chained, num_warps=SCAN_WARPS if is_first else draw_warps(blocks),
            maxnreg=None if is_first else DRAW_REGISTERS,
            **({"launch_pdl": True} if chained and not is_first else {}),
        )  # fmt: skip
    return Sampled(token, is_valid, is_blocked, logprob, top_token, top_logprob)
