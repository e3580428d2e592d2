"""Where top-k and top-p cut a row: bisection over the keys of what was listed, or else of the sub-blocks.

A cut is the smallest key above which there is less than the target: fewer than k tokens, or less weight than top-p asks
for.
"""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_key import key_of, value_of
from espalier.kernels.triton.sampling_row import draw_among, load_blocks

WAYS: tl.constexpr = tl.constexpr(8)
"""Places that one round of the bisection tries."""
STEP: tl.constexpr = tl.constexpr(2)
"""Sub-blocks that a round looks at together: more would take registers that a multiprocessor's second row needs."""
SHORT: tl.constexpr = tl.constexpr(512)
"""Logits of a list that is drawn from without looking at the sub-blocks again."""


@triton.jit
def add_above(count, mass, x, low, best, scale, shift):
    """`count` and `mass` [N, WAYS] with what is above each key `low` [WAYS] of the logits x [N] added."""
    is_above = key_of(x, shift)[:, None] > low[None, :]
    weight = tl.exp2((x - best) * scale)
    return count + is_above.to(tl.int32), mass + tl.where(is_above, weight[:, None], 0.0)


@triton.jit
def tally(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, chosen_blocks,
    num_chosen, num_listed, best, scale, shift, low, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
    LIST: tl.constexpr,
):  # fmt: skip
    """How many tokens are above each key `low` [WAYS], and their weight; of the list, or of the chosen sub-blocks."""
    WIDTH: tl.constexpr = STEP * 128
    count = tl.zeros([WIDTH, WAYS], tl.int32)
    mass = tl.zeros([WIDTH, WAYS], tl.float32)
    if num_listed <= LIST:
        for start in range(0, num_listed, WIDTH):
            place = start + tl.arange(0, WIDTH)
            x = tl.load(list_value + place, mask=place < num_listed, other=-float("inf"))
            count, mass = add_above(count, mass, x, low, best, scale, shift)
    else:
        for start in range(0, num_chosen, STEP):
            place = start + tl.arange(0, STEP)
            block = tl.load(chosen_blocks + place, mask=place < num_chosen, other=0)
            wide, _, _, _ = load_blocks(
                x_row, words_row, patched_row, patch_value, block, place < num_chosen, vocab, num_words, has_mask,
                has_patch, False, HAS_MASK, HAS_PATCH,
            )  # fmt: skip
            count, mass = add_above(count, mass, tl.reshape(wide, [WIDTH]), low, best, scale, shift)
    return tl.sum(count, axis=0), tl.sum(mass, axis=0)


@triton.jit
def draw_listed(list_value, list_token, num_listed, best, scale, floor, ties, share):
    """The token of a list of at most SHORT at which the running sum of what is above the cut exceeds `share` of it."""
    place = tl.arange(0, SHORT)
    x = tl.load(list_value + place, mask=place < num_listed, other=-float("inf"))
    token = tl.load(list_token + place, mask=place < num_listed, other=0)
    is_equal = x == floor
    is_kept = (place < num_listed) & ((x > floor) | (is_equal & (tl.cumsum(is_equal.to(tl.int32), axis=0) <= ties)))
    weight = tl.where(is_kept, tl.exp2((x - best) * scale), 0.0).to(tl.float64)
    return draw_among(x, token, is_kept, best, scale, 0.0, share * tl.sum(weight, axis=0))


@triton.jit
def bisect(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, chosen_blocks,
    num_chosen, num_listed, best, scale, shift, low, high, by_mass, target, share, HAS_MASK: tl.constexpr,
    HAS_PATCH: tl.constexpr, LIST: tl.constexpr,
):  # fmt: skip
    """The smallest key int32 in (low, high] above which there is less than `target`, of tokens or of weight.

    Nothing is above `high`. A negative target means `share` of what is above `low`. Returns also the target, how many
    tokens and what weight are above the key, and how many tokens have it.
    """
    low, high = low.to(tl.int64), high.to(tl.int64)
    way = tl.arange(0, WAYS)
    above = tl.full([], 0, tl.int32)
    above_mass = tl.full([], 0.0, tl.float32)
    reached = tl.full([], 0, tl.int32)
    is_first = low < low + 1
    while is_first | (high - low > 1):
        # The first place is `low` itself.
        place = low + (high - low) * way // WAYS
        count, mass = tally(
            x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value,
            chosen_blocks, num_chosen, num_listed, best, scale, shift, place.to(tl.int32), HAS_MASK, HAS_PATCH, LIST,
        )  # fmt: skip
        target = tl.where(target < 0, tl.max(mass, axis=0).to(tl.float64) * share, target)
        found = tl.where(by_mass, mass.to(tl.float64), count.to(tl.float64))
        is_reached = (found >= target) | (place == low)
        reached = tl.min(tl.where(is_reached, count, 2147483647), axis=0)
        above = tl.maximum(tl.max(tl.where(is_reached, 0, count), axis=0), above)
        above_mass = tl.maximum(tl.max(tl.where(is_reached, 0.0, mass), axis=0), above_mass)
        high = tl.min(tl.where(is_reached, high, place), axis=0)
        low = tl.max(tl.where(is_reached, place, low), axis=0)
        is_first = low > low
    return high.to(tl.int32), target, above, above_mass, reached - above


@triton.jit
def weight_of(value, best, scale):
    """The weight float64 of one logit; one far below the best has none, and no float is exceeded on the way."""
    return tl.exp2(tl.maximum(value - best, -1e10) * scale).to(tl.float64)


@triton.jit
def find_cut(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value, chosen_blocks,
    num_listed, num_chosen, low, target, best, scale, floor, k, p, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
    LIST: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """The floor and its ties of the top k (0: off) above `floor`, and of those the fewest that make top p (1: off), of
    what `list_above` has found.
    """
    shift = tl.where(has_patch, 0, SHIFT)
    high = key_of(best, shift)
    ties = tl.full([], 2147483647, tl.int32)
    # First the k best, then the fewest of those that make top p: one loop, so that there is one bisection in the code.
    for by_mass in range(2):
        if tl.where(by_mass == 1, p < 1, k > 0):
            goal = tl.where(by_mass == 1, target, k.to(tl.float64))
            cut, goal, above, mass, equal = bisect(
                x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, list_value,
                chosen_blocks, num_chosen, num_listed, best, scale, shift, low, high, by_mass == 1, goal, p, HAS_MASK,
                HAS_PATCH, LIST,
            )  # fmt: skip
            cut_floor = value_of(cut, shift)
            each = weight_of(cut_floor, best, scale)
            needed = tl.ceil((goal - mass.to(tl.float64)) / tl.maximum(each, 1e-300))
            needed = tl.maximum(tl.minimum(needed, equal.to(tl.float64)), 1.0).to(tl.int32)
            needed = tl.where(by_mass == 1, needed, tl.minimum(k - above, equal))
            ties = tl.where(cut_floor == floor, tl.minimum(ties, needed), needed)
            floor = cut_floor
            target = (mass.to(tl.float64) + ties.to(tl.float64) * each) * p
            low = cut - 1
    return floor, ties
