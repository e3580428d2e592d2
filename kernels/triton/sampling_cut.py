"""Where top-k and top-p cut a row: a bound from what is known of its sub-blocks, a list of what is above it, the cut.

A key is the integer whose order is the float's, less the low bits that the logits' type has not. A cut is the smallest
key above which there is less than the target: fewer than k tokens, or less weight than top-p asks for. It is found by
bisection over the keys; `sampling_rank` needs none where the list is short.

A multiprocessor has two rows, and nearly nothing to do while one of them adds up among its threads: what counts here is
how many such sums, and reads of what was just written, come one after another.
"""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_row import draw_among, list_blocks, load_blocks, load_words

WAYS: tl.constexpr = tl.constexpr(8)
"""Places that one round of the bisection tries."""
COUNT_ROUNDS: tl.constexpr = tl.constexpr(4)
MASS_ROUNDS: tl.constexpr = tl.constexpr(12)
"""Rounds of the searches for a bound, which need not be exact: of four places each, and of one."""
STEP: tl.constexpr = tl.constexpr(2)
"""Sub-blocks that a round looks at together: more would take registers that a multiprocessor's second row needs."""
GROUP: tl.constexpr = tl.constexpr(64)
"""Sub-blocks that are looked at together for the words above the bound."""
WORDS: tl.constexpr = tl.constexpr(64)
"""Words that are listed together."""
SHORT: tl.constexpr = tl.constexpr(512)
"""Logits of a list that is drawn from without looking at the sub-blocks again."""


@triton.jit
def key_of(x, shift):
    """The key int32 of floats; the two zeros are equal, and have one key."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits) >> shift


@triton.jit
def value_of(key, shift):
    """The float of a key."""
    bits = (key << shift) | tl.where(key < 0, (1 << shift) - 1, 0)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.float32, bitcast=True)


@triton.jit
def key_below(x, shift):
    """The largest key whose float is less than x."""
    key = key_of(x, shift)
    return tl.where(value_of(key, shift) < x, key, key - 1)


@triton.jit
def _reaching(x, place, SHIFT: tl.constexpr):
    """A one in the bits int64 from SHIFT on where x reaches a place."""
    return (x >= place).to(tl.int64) << SHIFT


@triton.jit
def _narrow(count, place, k, low, high):
    """The bounds, now that a place is known to be reached so often."""
    is_reached = count >= k
    return tl.where(is_reached, tl.maximum(low, place), low), tl.where(is_reached, high, tl.minimum(high, place))


@triton.jit
def bound_count(most_b, best, k, BLOCKS: tl.constexpr):
    """A logit that at least k sub-blocks' maxima reach, near the largest such; minus infinity if too few have any."""
    tl.static_assert(BLOCKS < 32768, "counts of sub-blocks take 15 bits")
    INF: tl.constexpr = float("inf")
    MOST: tl.constexpr = 65535
    is_some = most_b > -INF
    low = tl.min(tl.where(is_some, most_b, best), axis=0)
    high = best
    for _ in range(COUNT_ROUNDS):
        # Four places, whose counts are one sum among threads.
        step = (high - low) * 0.2
        a, b, c, d = low + step, low + 2 * step, low + 3 * step, low + 4 * step
        counts = tl.sum(
            _reaching(most_b, a, 0) + _reaching(most_b, b, 16) + _reaching(most_b, c, 32) + _reaching(most_b, d, 48),
            axis=0,
        )
        low, high = _narrow(counts & MOST, a, k, low, high)
        low, high = _narrow((counts >> 16) & MOST, b, k, low, high)
        low, high = _narrow((counts >> 32) & MOST, c, k, low, high)
        low, high = _narrow((counts >> 48) & MOST, d, k, low, high)
        high = tl.maximum(high, low)
    return tl.where(tl.sum(is_some.to(tl.int32), axis=0) >= k, low, -INF)


@triton.jit
def bound_mass(most_b, mass_b, best, scale, p):
    """A logit below which less than a share of 1 - p lies, near to the largest that sub-blocks' numbers can tell.

    A sub-block whose maximum does not reach it leaves out all its weight; another at most its weight without its
    maximum, and at most 127 tokens at the bound.
    """
    INF: tl.constexpr = float("inf")
    most_weight = tl.exp2((most_b - best) * scale)
    beside = tl.maximum(mass_b - most_weight, 0.0)
    # With room for what sums in float32 round.
    limit = tl.sum(mass_b, axis=0) * (1.0 - p - 1e-5)
    low = tl.full([], -60.0, tl.float32)
    high = tl.full([], 0.0, tl.float32)
    is_any = limit > 0
    for turn in range(MASS_ROUNDS + 1):
        middle = tl.where(turn == 0, low, low * 0.5 + high * 0.5)
        bound = best + middle / scale
        left = tl.where(most_b < bound, mass_b, tl.minimum(beside, 127.0 * tl.exp2(middle)))
        is_small = tl.sum(left, axis=0) <= limit
        is_any = is_any & (is_small | (turn > 0))
        low = tl.where(is_small, middle, low)
        high = tl.where(is_small, high, middle)
    return tl.where(is_any, best + low / scale, -INF)


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
