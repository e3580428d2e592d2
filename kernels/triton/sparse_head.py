"""The sparse head. Legend as in `kernels.sparse_head`; sums are float32, results are rounded to the weights' dtype.

A program takes a few neighbouring entries of `token`, whose rows of the matrix it reads once from end to end. Which row
of hidden states an entry belongs to it finds by bisection, so that no shape depends on how many tokens a row wants.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ENTRIES = 8
BLOCK = 256
# So that a thread loads 16 bytes of 16-bit weights at a time.
WARPS = 8


@triton.jit
def row_of(entry, start, num_rows, STEPS: tl.constexpr):
    """The row whose range holds each entry, `num_rows` for those beyond the last; STEPS halve num_rows + 1 to one."""
    low = tl.zeros_like(entry)
    high = low + num_rows
    for _ in tl.static_range(STEPS):
        middle = (low + high) // 2
        is_open = middle < high
        end = tl.load(start + middle + 1, mask=is_open, other=0)
        is_behind = is_open & (end <= entry)
        low = tl.where(is_behind, middle + 1, low)
        high = tl.where(is_behind, high, middle)
    return low


@triton.jit
def sparse_head_kernel(
    hidden, weight, bias, start, token, out,
    num_rows, num_features, num_tokens, num_entries, hidden_stride, weight_stride,
    HAS_BIAS: tl.constexpr, STEPS: tl.constexpr, ENTRIES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Logits of the entries [ENTRIES * program, ENTRIES * (program + 1))."""
    entry = tl.program_id(0) * ENTRIES + tl.arange(0, ENTRIES)
    is_inside = entry < num_entries
    row = row_of(entry, start, num_rows, STEPS)
    wanted = tl.load(token + entry, mask=is_inside, other=-1)
    is_wanted = is_inside & (row < num_rows) & (wanted >= 0) & (wanted < num_tokens)
    weight_row = weight + tl.where(is_wanted, wanted, 0).to(tl.int64)[:, None] * weight_stride
    hidden_row = hidden + row.to(tl.int64)[:, None] * hidden_stride
    total = tl.zeros((ENTRIES, BLOCK), dtype=tl.float32)
    # A step of fixed shape leaves many programs without entries: they read nothing.
    end = tl.where(tl.max(is_wanted.to(tl.int32), axis=0) > 0, num_features, 0)
    for begin in range(0, end, BLOCK):
        at = (begin + tl.arange(0, BLOCK))[None, :]
        is_there = is_wanted[:, None] & (at < num_features)
        w = tl.load(weight_row + at, mask=is_there, other=0.0).to(tl.float32)
        x = tl.load(hidden_row + at, mask=is_there, other=0.0).to(tl.float32)
        total += w * x
    logit = tl.sum(total, axis=1)
    if HAS_BIAS:
        logit += tl.load(bias + wanted, mask=is_wanted, other=0.0).to(tl.float32)
    rounded = logit.to(weight.dtype.element_ty).to(tl.float32)
    tl.store(out + entry, tl.where(is_wanted, rounded, float("-inf")), mask=is_inside)


def sparse_head(hidden_rh: Tensor, weight_vh: Tensor, bias_v: Tensor | None, start: Tensor, token: Tensor) -> Tensor:
    """Logits float32 [E]; see `kernels.sparse_head`. The last strides of hidden states and weights are 1."""
    if hidden_rh.stride(1) != 1:
        hidden_rh = hidden_rh.contiguous()
    rows, features = hidden_rh.shape
    out = torch.empty(len(token), device=token.device)
    if len(token):
        sparse_head_kernel[(triton.cdiv(len(token), ENTRIES),)](
            hidden_rh, weight_vh, bias_v if bias_v is not None else weight_vh, start, token, out,
            rows, features, len(weight_vh), len(token), hidden_rh.stride(0), weight_vh.stride(0),
            HAS_BIAS=bias_v is not None, STEPS=rows.bit_length(), ENTRIES=ENTRIES, BLOCK=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return out
