"""Root mean square norm, with and without the addition before it. Legend: H features; sums are float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048


@triton.jit(do_not_specialize=["num_rows"])
def rms_norm_kernel(
    x, residual, weight, out, new_residual, num_rows, num_inner, features, x_outer_stride, x_inner_stride, eps,
    HAS_RESIDUAL: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS whole rows. Row r of `x` is that of its two leading indices r // num_inner and r % num_inner; all other
    tensors are contiguous.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    at = tl.arange(0, BLOCK)
    inside = (row < num_rows)[:, None] & (at < features)[None, :]
    from_row = row // num_inner * x_outer_stride + row % num_inner * x_inner_stride
    place = row[:, None] * features + at[None, :]
    wide = tl.load(x + from_row[:, None] + at[None, :], mask=inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        wide += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
        rounded = wide.to(out.dtype.element_ty)
        tl.store(new_residual + place, rounded, mask=inside)
        wide = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=1) / features + eps)
    # Rounded before the weight, as the twin and the models' own code do.
    normed = (wide * scale[:, None]).to(out.dtype.element_ty).to(tl.float32)
    factor = tl.load(weight + at, mask=at < features, other=0.0).to(tl.float32)
    tl.store(out + place, (normed * factor[None, :]).to(out.dtype.element_ty), mask=inside)


def rms_norm(x: Tensor, weight_h: Tensor, eps: float) -> Tensor:
    """The norm of `x` [..., H]."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _launch(x, None, weight_h, out, None, eps)
    return out


def add_rms_norm(x: Tensor, residual: Tensor, weight_h: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm of x + residual, and that sum."""
    out, new_residual = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(2))
    _launch(x, residual.contiguous(), weight_h, out, new_residual, eps)
    return out, new_residual


def _launch(
    x: Tensor, residual: Tensor | None, weight_h: Tensor, out: Tensor, new_residual: Tensor | None, eps: float
) -> None:
    if not x.numel():
        return
    features = x.shape[-1]
    # Heads of a fused projection are not copied: two leading axes keep their strides.
    rows = x if x.ndim == 3 else x.reshape(-1, 1, features)
    if rows.stride(2) != 1:
        rows = rows.contiguous()
    num_rows, block = rows.shape[0] * rows.shape[1], triton.next_power_of_2(features)
    # Whatever the number of rows: the order of a row's sum depends on it.
    together = max(1, TILE // block)
    rms_norm_kernel[triton.cdiv(num_rows, together),](
        rows, residual, weight_h.contiguous(), out, new_residual, num_rows, rows.shape[1], features, rows.stride(0),
        rows.stride(1), eps, HAS_RESIDUAL=residual is not None, ROWS=together, BLOCK=block,
        num_warps=max(4, min(32, block // 512)),
    )  # fmt: skip
