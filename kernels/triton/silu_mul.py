"""The gate of a gated linear unit. Legend as in `kernels.silu_mul`; the sigmoid and the products are float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def silu_mul_kernel(gate_up, out, features, row_stride, BLOCK: tl.constexpr):
    """One block of features of one token; `out` is contiguous, rows of `gate_up` lie `row_stride` apart."""
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < features
    row = gate_up + token * row_stride
    gate = tl.load(row + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(row + features + at, mask=inside, other=0.0)
    # The exponential of what is not positive never overflows.
    small = tl.exp(-tl.abs(gate))
    # Rounded between the two products, as the twin is.
    gated = (gate * tl.where(gate >= 0, 1.0, small) / (1.0 + small)).to(up.dtype)
    tl.store(out + token * features + at, (gated.to(tl.float32) * up.to(tl.float32)).to(up.dtype), mask=inside)


def silu_mul(gate_up_t2i: Tensor) -> Tensor:
    """SiLU of the first half of the features times the second half, contiguous."""
    flat = gate_up_t2i.reshape(-1, gate_up_t2i.shape[-1])
    if flat.stride(1) != 1:
        flat = flat.contiguous()
    features = flat.shape[1] // 2
    out = torch.empty(*gate_up_t2i.shape[:-1], features, dtype=flat.dtype, device=flat.device)
    if out.numel():
        grid = (len(flat), triton.cdiv(features, BLOCK))
        silu_mul_kernel[grid](flat, out, features, flat.stride(0), BLOCK=BLOCK)
    return out
