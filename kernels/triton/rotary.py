"""Rotary position embedding. Legend as in `kernels.rotary`; computed in float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024


@triton.jit
def rotary_kernel(
    x, cos_sin, positions, out, num_heads, token_stride, head_stride, table_stride,
    HALF: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """HEADS heads of one token; `out` is contiguous, HALF is D/2 and BLOCK the power of two above it."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    at = tl.arange(0, BLOCK)
    inside = (head < num_heads)[:, None] & (at < HALF)[None, :]
    angle = cos_sin + tl.load(positions + token) * table_stride + at
    cos = tl.load(angle, mask=at < HALF, other=0.0)[None, :]
    sin = tl.load(angle + HALF, mask=at < HALF, other=0.0)[None, :]
    source = x + token * token_stride + head[:, None] * head_stride + at[None, :]
    first = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(source + HALF, mask=inside, other=0.0).to(tl.float32)
    target = out + (token * num_heads + head[:, None]) * (2 * HALF) + at[None, :]
    tl.store(target, (first * cos - second * sin).to(out.dtype.element_ty), mask=inside)
    tl.store(target + HALF, (second * cos + first * sin).to(out.dtype.element_ty), mask=inside)


def rotary(x_tnd: Tensor, cos_sin_pd: Tensor, positions_t: Tensor) -> Tensor:
    """`x_tnd` rotated to its positions, contiguous; x may be a view of a fused projection."""
    x = x_tnd if x_tnd.stride(2) == 1 else x_tnd.contiguous()
    num_tokens, num_heads, size = x.shape
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if out.numel():
        block = triton.next_power_of_2(size // 2)
        heads = min(triton.next_power_of_2(num_heads), max(1, TILE // block))
        rotary_kernel[num_tokens, triton.cdiv(num_heads, heads)](
            x, cos_sin_pd, positions_t, out, num_heads, x.stride(0), x.stride(1), cos_sin_pd.stride(0),
            HALF=size // 2, HEADS=heads, BLOCK=block,
        )  # fmt: skip
    return out
