"""Reading one row of logits by sub-blocks of 128 tokens, with its mask and what penalties and bias changed of it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _and(x, flag):
    """`x` where the scalar `flag` is true; the interpreter makes integers of `&` with a scalar."""
    return tl.where(flag, x, False)


@triton.jit
def load_blocks(
    x_row, words_row, patched_row, patch_value, block, live, vocab, num_words, has_mask, has_patch, wants_raw,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
):  # fmt: skip
    """The sub-blocks `block` [N] that are `live`: adjusted logits [4, N, 32] float32, minus infinity where forbidden.

    And the logits as they came, anything where not read, the mask's words [4, N] within the vocabulary, and the tokens.
    """
    INF: tl.constexpr = float("inf")
    word = tl.arange(0, 4)[:, None] + block[None, :] * 4
    at = word[:, :, None] * 32 + tl.arange(0, 32)[None, None, :]
    rest = tl.minimum(tl.maximum(vocab - word * 32, 0), 32)
    inside = tl.where(rest == 32, -1, (1 << (rest & 31)) - 1)
    words = tl.where(live[None, :], inside, 0)
    if HAS_MASK:
        allowed = tl.load(words_row + word, mask=_and(live[None, :] & (word < num_words), has_mask), other=0)
        words = words & tl.where(has_mask, allowed, -1)
        is_read = tl.where(wants_raw, live, tl.max((words != 0).to(tl.int32), axis=0) != 0)
    else:
        # Words of a sub-block may be in different warps: no asking around where the answer is known.
        is_read = live
    # A condition that is the same for a whole sub-block leaves loads as wide as they can be. Nothing is filled in where
    # the mask does it below.
    raw = tl.load(
        x_row + at, mask=is_read[None, :, None] & (at < vocab), other=0.0 if HAS_MASK else -INF
    ).to(tl.float32)  # fmt: skip
    x = raw
    if HAS_PATCH:
        changed = tl.load(patched_row + word, mask=_and(is_read[None, :] & (word * 32 < vocab), has_patch), other=0)
        is_changed = ((changed[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1) != 0
        x = tl.where(is_changed, tl.load(patch_value + at, mask=is_changed, other=0.0), raw)
    if HAS_MASK:
        # The bits to look at stay in registers from call to call, shifts would not.
        x = tl.where((words[:, :, None] & (1 << tl.arange(0, 32))[None, None, :]) != 0, x, -INF)
    return x, raw, words, at


@triton.jit
def load_words(
    x_row, words_row, patched_row, patch_value, word, live, vocab, num_words, has_mask, has_patch,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
):  # fmt: skip
    """The words `word` [N], 32 tokens each, that are `live`: adjusted logits [N, 32] float32, minus infinity where
    forbidden, and the tokens.
    """
    INF: tl.constexpr = float("inf")
    at = word[:, None] * 32 + tl.arange(0, 32)[None, :]
    x = tl.load(x_row + at, mask=live[:, None] & (at < vocab), other=-INF).to(tl.float32)
    bit = 1 << tl.arange(0, 32)[None, :]
    if HAS_PATCH:
        changed = tl.load(patched_row + word, mask=_and(live, has_patch), other=0)
        is_changed = (changed[:, None] & bit) != 0
        x = tl.where(is_changed, tl.load(patch_value + at, mask=is_changed, other=0.0), x)
    if HAS_MASK:
        allowed = tl.load(words_row + word, mask=_and(live & (word < num_words), has_mask), other=0)
        x = tl.where((tl.where(has_mask, allowed, -1)[:, None] & bit) != 0, x, -INF)
    return x, at


@triton.jit
def flatten(x, N: tl.constexpr):
    """What is said of each token [4, N, 32] in the order of the tokens [128 N]."""
    return tl.reshape(tl.permute(x, (1, 0, 2)), [N * 128])


@triton.jit
def is_patched(row, seen_start, bias_start, HAS_SEEN: tl.constexpr, HAS_BIAS: tl.constexpr):
    """Whether penalties or bias change any logit of the row."""
    found = row < 0
    if HAS_SEEN:
        found = found | (tl.load(seen_start + row + 1) > tl.load(seen_start + row))
    if HAS_BIAS:
        found = found | (tl.load(bias_start + row + 1) > tl.load(bias_start + row))
    return found


@triton.jit
def patch_row(
    x_row, row, seen_start, seen_token, seen_value, repetition, presence, frequency,
    bias_start, bias_token, bias_value, patched_row, patch_value, first, last, has_patch, HAS_SEEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Write down the logits of the tokens [first, last), whole words, that penalties and bias change, and a bit for
    each.
    """
    STEP: tl.constexpr = 1024
    begin = tl.full([], 0, tl.int32)
    end = tl.full([], 0, tl.int32)
    bias_begin = tl.full([], 0, tl.int32)
    bias_end = tl.full([], 0, tl.int32)
    if HAS_SEEN:
        begin, end = tl.load(seen_start + row), tl.load(seen_start + row + 1)
    if HAS_BIAS:
        bias_begin, bias_end = tl.load(bias_start + row), tl.load(bias_start + row + 1)
    if has_patch:
        for start in range(first // 32, (last + 31) // 32, STEP):
            word = start + tl.arange(0, STEP)
            tl.store(patched_row + word, tl.zeros([STEP], tl.int32), mask=word < (last + 31) // 32)
        tl.debug_barrier()
        if HAS_SEEN:
            factor, said, each = tl.load(repetition + row), tl.load(presence + row), tl.load(frequency + row)
            for start in range(begin, end, STEP):
                entry = start + tl.arange(0, STEP)
                token = tl.load(seen_token + entry, mask=entry < end, other=-1)
                is_there = (token >= first) & (token < last)
                count = tl.load(seen_value + entry, mask=is_there, other=0.0)
                x = tl.load(x_row + token, mask=is_there, other=0.0).to(tl.float32)
                x = tl.where(x > 0, x / factor, x * factor)
                x = tl.where(count > 0, x - (said + each * count), x)
                tl.store(patch_value + token, x, mask=is_there)
                tl.atomic_or(patched_row + (token >> 5), 1 << (token & 31), mask=is_there)
            tl.debug_barrier()
        if HAS_BIAS:
            for start in range(bias_begin, bias_end, STEP):
                entry = start + tl.arange(0, STEP)
                token = tl.load(bias_token + entry, mask=entry < bias_end, other=-1)
                is_there = (token >= first) & (token < last)
                x = tl.load(x_row + token, mask=is_there, other=0.0).to(tl.float32)
                # Other entries may set other bits of the word meanwhile, never this one.
                words = tl.load(patched_row + (token >> 5), mask=is_there, other=0)
                is_changed = is_there & (((words >> (token & 31)) & 1) != 0)
                x = tl.where(is_changed, tl.load(patch_value + token, mask=is_changed, other=0.0), x)
                x += tl.load(bias_value + entry, mask=is_there, other=0.0)
                tl.store(patch_value + token, x, mask=is_there)
                tl.atomic_or(patched_row + (token >> 5), 1 << (token & 31), mask=is_there)
        tl.debug_barrier()


@triton.jit
def list_blocks(chosen_blocks, is_chosen, BLOCKS: tl.constexpr):
    """Write down the numbers of the sub-blocks that are chosen [BLOCKS], rising; returns how many there are."""
    tl.debug_barrier()
    place = tl.cumsum(is_chosen.to(tl.int32), axis=0) - 1
    tl.store(chosen_blocks + place, tl.arange(0, BLOCKS), mask=is_chosen)
    tl.debug_barrier()
    return tl.sum(is_chosen.to(tl.int32), axis=0)


@triton.jit
def weigh(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch,
    block_sum, block_equal, chosen_blocks, most_b, best, scale, floor, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
    BLOCKS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Of each sub-block [BLOCKS] the weight of what is above the floor, and how many equal it."""
    is_chosen = most_b >= floor
    count = list_blocks(chosen_blocks, is_chosen, BLOCKS)
    for start in range(0, count, TILE):
        place = start + tl.arange(0, TILE)
        live = place < count
        block = tl.load(chosen_blocks + place, mask=live, other=0)
        x, _, _, _ = load_blocks(
            x_row, words_row, patched_row, patch_value, block, live, vocab, num_words, has_mask, has_patch, False,
            HAS_MASK, HAS_PATCH,
        )  # fmt: skip
        weight = tl.where(x > floor, tl.exp2((x - best) * scale), 0.0)
        tl.store(block_sum + block, tl.sum(tl.sum(weight, axis=2), axis=0), mask=live)
        tl.store(block_equal + block, tl.sum(tl.sum((x == floor).to(tl.int32), axis=2), axis=0), mask=live)
    tl.debug_barrier()
    index = tl.arange(0, BLOCKS)
    mass_b = tl.load(block_sum + index, mask=is_chosen, other=0.0)
    return mass_b, tl.load(block_equal + index, mask=is_chosen, other=0)


@triton.jit
def _earlier(at, before, count, other_at, other_before, other_count):
    is_first = at < other_at
    return (
        tl.where(is_first, at, other_at), tl.where(is_first, before, other_before),
        tl.where(is_first, count, other_count),
    )  # fmt: skip


@triton.jit
def first_of(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, block, value,
    HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr,
):  # fmt: skip
    """The first token of a sub-block whose logit is `value`."""
    one = block + tl.arange(0, 1)
    x, _, _, at = load_blocks(
        x_row, words_row, patched_row, patch_value, one, one >= 0, vocab, num_words, has_mask, has_patch, False,
        HAS_MASK, HAS_PATCH,
    )  # fmt: skip
    return tl.min(tl.reshape(tl.where(x == value, at, 2147483647), [128]), axis=0)


@triton.jit
def draw_block(
    x_row, words_row, patched_row, patch_value, vocab, num_words, has_mask, has_patch, mass_b, equal_b,
    best, scale, floor, ties, share, HAS_MASK: tl.constexpr, HAS_PATCH: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """The token at which the running sum of what is above the cut exceeds `share` of it.

    `mass_b`, `equal_b` [BLOCKS] are the weight above the floor and how many equal it: which sub-block it is in is known
    from them, and that one alone is read.
    """
    INF: tl.constexpr = float("inf")
    index = tl.arange(0, BLOCKS)
    before_b = tl.zeros([BLOCKS], tl.int32)
    # A floor of minus infinity has no weight, and no equals are counted there.
    if floor > -INF:
        # Of those that equal the floor each sub-block has what the ones before it leave.
        before_b = tl.cumsum(equal_b, axis=0) - equal_b
        kept_b = tl.minimum(equal_b, tl.maximum(ties - before_b, 0))
        mass_b += kept_b.to(tl.float32) * tl.exp2(tl.maximum(floor - best, -1e10) * scale)
    wide_b = mass_b.to(tl.float64)
    target = share * tl.sum(wide_b, axis=0)
    running_b = tl.cumsum(wide_b, axis=0)
    # Rounding may leave the target beyond the sum: then the last that has any weight is meant, here and below.
    order_b = tl.where(running_b > target, index, 2 * BLOCKS - 1 - index)
    order_b = tl.where(mass_b > 0, order_b, 2 * BLOCKS)
    order, before, equals = tl.reduce((order_b, running_b - wide_b, before_b), 0, _earlier)
    block = tl.where(order < BLOCKS, order, tl.maximum(2 * BLOCKS - 1 - order, 0))
    ties = ties - equals
    one = block + tl.arange(0, 1)
    x, _, _, at = load_blocks(
        x_row, words_row, patched_row, patch_value, one, one >= 0, vocab, num_words, has_mask, has_patch, False,
        HAS_MASK, HAS_PATCH,
    )  # fmt: skip
    x, at = tl.reshape(x, [128]), tl.reshape(at, [128])
    is_kept = x > -INF
    if floor > -INF:
        is_equal = x == floor
        is_kept = (x > floor) | (is_equal & (tl.cumsum(is_equal.to(tl.int32), axis=0) <= ties))
    return draw_among(x, at, is_kept, best, scale, before, target)


@triton.jit
def draw_among(x, at, is_kept, best, scale, before, target):
    """The first token of `at` [N], rising, at which `before` and the running sum of what is kept exceed the target."""
    weight = tl.where(is_kept, tl.exp2((x - best) * scale), 0.0).to(tl.float64)
    is_beyond = before + tl.cumsum(weight, axis=0) > target
    last: tl.constexpr = 2147483647
    # One search for both: the first that is beyond, or the last that is kept.
    order = tl.where(is_kept, tl.where((weight > 0) & is_beyond, at, last - at), last).to(tl.int32)
    order = tl.min(order, axis=0)
    return tl.where(order > last // 2, last - order, order)
