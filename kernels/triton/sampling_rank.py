"""The draw from a short list of a row's logits: each is compared with each, and no cut has to be looked for."""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_row import draw_among

RANKED: tl.constexpr = tl.constexpr(128)
"""Logits of a list that are compared with one another: as many squared."""
PART: tl.constexpr = tl.constexpr(32)
"""Logits that all others are compared with at once: more would take registers that a second row needs."""


@triton.jit
def draw_ranked(list_value, list_token, num_listed, best, scale, k, p, target, share):
    """The token of a list of at most RANKED, in order of the vocabulary, at which the running sum of the `k` best
    (0: all), and of those of the fewest that make top p, exceeds `share` of it.

    Top p asks for the weight `target`; a negative one means `p` of what the `k` best weigh. Equals count by rising
    token, which is their order in the list.
    """
    place = tl.arange(0, RANKED)
    is_listed = place < num_listed
    x = tl.load(list_value + place, mask=is_listed, other=-float("inf"))
    token = tl.load(list_token + place, mask=is_listed, other=0)
    weight = tl.where(is_listed, tl.exp2((x - best) * scale), 0.0)
    is_kept = is_listed
    if (k > 0) | (p < 1):
        # Some of the list at a time: the sums stay in registers, and are added up among threads once.
        rank_ji = tl.zeros([PART, RANKED], tl.int32)
        better_ji = tl.zeros([PART, RANKED], tl.float32)
        for start in range(0, num_listed, PART):
            j = start + tl.arange(0, PART)
            x_j = tl.load(list_value + j, mask=j < num_listed, other=-float("inf"))
            weight_j = tl.exp2((x_j - best) * scale)
            is_before = (x_j[:, None] > x[None, :]) | ((x_j[:, None] == x[None, :]) & (j[:, None] < place[None, :]))
            rank_ji += is_before.to(tl.int32)
            better_ji += tl.where(is_before, weight_j[:, None], 0.0)
        rank, better = tl.sum(rank_ji, axis=0), tl.sum(better_ji, axis=0)
        is_kept = is_kept & ((rank < k) | (k <= 0))
        if p < 1:
            goal = target
            if target < 0:
                goal = tl.sum(tl.where(is_kept, weight, 0.0).to(tl.float64), axis=0) * p
            is_kept = is_kept & ((better < goal) | (rank == 0))
    whole = tl.sum(tl.where(is_kept, weight, 0.0).to(tl.float64), axis=0)
    return draw_among(x, token, is_kept, best, scale, 0.0, share * whole)
