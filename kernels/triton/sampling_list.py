"""The list of a row's logits above a bound: the sub-blocks that reach it are read again, then their words that do."""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_bound import bound_count, bound_mass
from espalier.kernels.triton.sampling_key import key_below, key_of
from espalier.kernels.triton.sampling_row import list_blocks, load_blocks, load_words

GROUP: tl.constexpr = tl.constexpr(64)
"""Sub-blocks that are looked at together for the words above the bound."""
WORDS: tl.constexpr = tl.constexpr(64)
"""Words that are listed together."""


@triton.jit
def list_words(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
    word_list, num_above, total, low, shift, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, LIST: tl.constexpr,
):  # fmt: skip
    """Write down the logits above the key `low` of some words behind `total` others; returns how many there are now."""
    for first in range(0, num_above, WORDS):
        place = first + tl.arange(0, WORDS)
        word = tl.load(word_list + place, mask=place < num_above, other=0)
        wide, wide_at = load_words(
            x_row, words_row, patched_row, patch_value, word, place < num_above, vocab, num_words, has_mask, has_patch,
            HAS_MASK, HAS_PATCH,
        )  # fmt: skip
        x, at = tl.reshape(wide, [WORDS * 32]), tl.reshape(wide_at, [WORDS * 32])
        is_above = (key_of(x, shift) > low).to(tl.int32)
        to = total + tl.cumsum(is_above, axis=0) - 1
        is_kept = (is_above != 0) & (to < LIST)
        tl.store(list_value + to, x, mask=is_kept)
        tl.store(list_token + to, at, mask=is_kept)
        total += tl.sum(is_above, axis=0)
    return total


@triton.jit
def fill_list(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
    chosen_blocks, num_chosen, word_list, low, shift, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
    LIST: tl.constexpr,
):  # fmt: skip
    """Write down the logits above the key `low`; returns how many there are, some number above LIST if too many.

    `word_list` has room for the words of GROUP sub-blocks. Those that have any logit above are read again: the fewer
    there are to count through, the less time goes.
    """
    total = tl.full([], 0, tl.int32)
    start = tl.full([], 0, tl.int32)
    while (start < num_chosen) & (total <= LIST):
        place = start + tl.arange(0, GROUP)
        block = tl.load(chosen_blocks + place, mask=place < num_chosen, other=0)
        x, _, _, _ = load_blocks(
            x_row, words_row, patched_row, patch_value, block, place < num_chosen, vocab, num_words, has_mask,
            has_patch, False, HAS_MASK, HAS_PATCH,
        )  # fmt: skip
        has_above = (key_of(tl.max(x, axis=2), shift) > low).to(tl.int32)
        word = block[:, None] * 4 + tl.arange(0, 4)[None, :]
        is_listed = tl.reshape(tl.permute(has_above, (1, 0)), [GROUP * 4])
        to = tl.cumsum(is_listed, axis=0) - 1
        tl.store(word_list + to, tl.reshape(word, [GROUP * 4]), mask=is_listed != 0)
        num_above = tl.sum(is_listed, axis=0)
        tl.debug_barrier()
        total = list_words(
            x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
            word_list, num_above, total, low, shift, HAS_MASK, HAS_PATCH, LIST,
        )  # fmt: skip
        tl.debug_barrier()
        start += GROUP
    return total


@triton.jit
def list_above(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
    chosen_blocks, word_list, most_b, mass_b, best, scale, floor, k, p, HAS_MASK: tl.constexpr,
    HAS_PATCH: tl.constexpr, BLOCKS: tl.constexpr, LIST: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """List all that the top k (0: off) above `floor`, and of those the fewest that make top p (1: off), may keep.

    `most_b`, `mass_b` [BLOCKS] are each sub-block's largest logit and its weight; with a top k nobody asks for the
    latter. Returns how many are listed, in how many sub-blocks, the key that all of them are above, and the weight that
    top p asks for: negative if it is a share of what the top k keep.
    """
    tl.static_assert(GROUP * 4 <= BLOCKS, "there is no room for a group's words")
    INF: tl.constexpr = float("inf")
    target = tl.full([], -1.0, tl.float64)
    bound = floor
    if k > 0:
        bound = tl.maximum(bound_count(most_b, best, k, BLOCKS), floor)
    elif floor == -INF:
        bound = bound_mass(most_b, mass_b, best, scale, p)
        target = tl.sum(mass_b.to(tl.float64), axis=0) * p
    shift = tl.where(has_patch, 0, SHIFT)
    # Minus infinity has no weight: nothing looks below it.
    low = tl.maximum(key_below(bound, shift), key_of(tl.full([], -INF, tl.float32), shift))
    num_chosen = list_blocks(chosen_blocks, (most_b >= bound) & (most_b > -INF), BLOCKS)
    num_listed = fill_list(
        x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, list_token,
        chosen_blocks, num_chosen, word_list, low, shift, HAS_MASK, HAS_PATCH, LIST,
    )  # fmt: skip
    return num_listed, num_chosen, low, target
