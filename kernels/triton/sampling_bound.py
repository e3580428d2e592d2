"""A bound that a row's cut is not below, from what is known of its sub-blocks alone.

A multiprocessor has two rows, and nearly nothing to do while one of them adds up among its threads: what counts is how
many such sums come one after another, here and behind it.
"""

from __future__ import annotations

import triton
import triton.language as tl

COUNT_ROUNDS: tl.constexpr = tl.constexpr(3)
MASS_ROUNDS: tl.constexpr = tl.constexpr(12)
"""Rounds of the searches behind the first, of four places each, and of one: a bound need not be exact."""


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
    for turn in range(COUNT_ROUNDS + 1):
        # Four places, whose counts are one sum among threads; at first they come nearer to the best by factors, so that
        # a maximum far below all others does not make the rest too coarse.
        step = (high - low) * 0.2
        a = tl.where(turn == 0, high - (high - low) / 8, low + step)
        b = tl.where(turn == 0, high - (high - low) / 64, low + 2 * step)
        c = tl.where(turn == 0, high - (high - low) / 512, low + 3 * step)
        d = tl.where(turn == 0, high - (high - low) / 4096, low + 4 * step)
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
