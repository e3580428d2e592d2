"""The best tokens of a row's logits as they came, and their log-probabilities."""

from __future__ import annotations

import triton
import triton.language as tl

from espalier.kernels.triton.sampling_bound import bound_count
from espalier.kernels.triton.sampling_cut import bisect
from espalier.kernels.triton.sampling_key import key_below, key_of, value_of
from espalier.kernels.triton.sampling_list import fill_list
from espalier.kernels.triton.sampling_row import flatten, list_blocks, load_blocks

FILL: tl.constexpr = tl.constexpr(8)
"""Sub-blocks that are looked at together; twice as many spill."""


@triton.jit
def write_top(
    x_row, vocab, most_b, best, whole, list_value, list_token, chosen_blocks, word_list, count, token_out, logprob_out,
    BLOCKS: tl.constexpr, LIST: tl.constexpr, TOP: tl.constexpr,
    SHIFT: tl.constexpr,
):  # fmt: skip
    """Write the `count` best tokens of the logits as they came, best first, and their log-probabilities."""
    INF: tl.constexpr = float("inf")
    none = tl.program_id(0) < 0
    nothing = tl.full([], 0, tl.int32)
    shift = nothing + SHIFT
    low = tl.maximum(
        key_below(bound_count(most_b, best, count, BLOCKS), shift), key_of(tl.full([], -INF, tl.float32), shift)
    )
    high = key_of(best, shift)
    num_chosen = list_blocks(chosen_blocks, (most_b >= value_of(low, shift)) & (most_b > -INF), BLOCKS)
    num_listed = fill_list(
        x_row, x_row, x_row, x_row, vocab, nothing, none, none, list_value, list_token, chosen_blocks, num_chosen,
        word_list, low, shift, False, False, LIST,
    )  # fmt: skip
    cut, _target, above, _mass, _equal = bisect(
        x_row, x_row, x_row, x_row, vocab, nothing, none, none, list_value, chosen_blocks, num_chosen, num_listed,
        best, 1.0, shift, low, high, none, (nothing + count).to(tl.float64), 1.0, False, False, LIST,
    )  # fmt: skip
    tl.debug_barrier()
    floor, ties = value_of(cut, shift), count - above
    total = tl.full([], 0, tl.int32)
    equals = tl.full([], 0, tl.int32)
    for start in range(0, num_chosen, FILL):
        place = start + tl.arange(0, FILL)
        block = tl.load(chosen_blocks + place, mask=place < num_chosen, other=0)
        wide, _raw, _words, at = load_blocks(
            x_row, x_row, x_row, x_row, block, place < num_chosen, vocab, nothing, none, none, False, False, False
        )
        x, at = flatten(wide, FILL), flatten(at, FILL)
        is_equal = (x == floor).to(tl.int32)
        rank = equals + tl.cumsum(is_equal, axis=0)
        is_kept = (x > floor) | ((is_equal != 0) & (rank <= ties))
        to = total + tl.cumsum(is_kept.to(tl.int32), axis=0) - 1
        tl.store(list_value + to, x, mask=is_kept)
        tl.store(list_token + to, at, mask=is_kept)
        total += tl.sum(is_kept.to(tl.int32), axis=0)
        equals += tl.sum(is_equal, axis=0)
    tl.debug_barrier()
    place = tl.arange(0, TOP)
    x = tl.load(list_value + place, mask=place < total, other=-INF)
    at = tl.load(list_token + place, mask=place < total, other=0)
    rank = tl.zeros([TOP], tl.int32)
    for start in range(0, total, 8):
        other = start + tl.arange(0, 8)
        other_x = tl.load(list_value + other, mask=other < total, other=-INF)
        is_before = (other_x[None, :] > x[:, None]) | (
            (other_x[None, :] == x[:, None]) & (other[None, :] < place[:, None])
        )
        rank += tl.sum((is_before & (other[None, :] < total)).to(tl.int32), axis=1)
    tl.store(token_out + rank, at.to(tl.int64), mask=place < total)
    tl.store(logprob_out + rank, x - whole, mask=place < total)
