"""Root mean square norm (Zhang and Sennrich, 2019), alone and behind a residual addition. Legend: H features."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError

# What one program of the Triton kernel holds in its registers.
MAX_FEATURES = 65536


def rms_norm(x: Tensor, weight_h: Tensor, eps: float) -> Tensor:
    """`x` [..., H] over its root mean square, times `weight_h`; computed in float32, returned in their common dtype.

    The last axis may lie in any stride; on a GPU one other than 1 costs a copy.
    """
    _check(x, weight_h)
    if use_triton(x, weight_h):
        from espalier.kernels.triton import rms_norm as kernel

        return kernel.rms_norm(x, weight_h, eps)
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * scale).to(x.dtype) * weight_h


def add_rms_norm(x: Tensor, residual: Tensor, weight_h: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm of x + residual, all [..., H], and that sum, which is the residual of the next block."""
    if x.shape != residual.shape or x.dtype != residual.dtype:
        raise KernelError(
            f"residual is {residual.dtype} {tuple(residual.shape)}, x is {x.dtype} {tuple(x.shape)}: they must agree"
        )
    _check(x, weight_h)
    if use_triton(x, residual, weight_h):
        from espalier.kernels.triton import rms_norm as kernel

        return kernel.add_rms_norm(x, residual, weight_h, eps)
    total = x + residual
    return rms_norm(total, weight_h, eps), total


def _check(x: Tensor, weight_h: Tensor) -> None:
    if x.shape[-1:] != weight_h.shape:
        raise KernelError(f"weight has shape {tuple(weight_h.shape)}, the last axis of x is {x.shape[-1]}")
    if x.dtype != weight_h.dtype or not x.is_floating_point():
        raise KernelError(f"x is {x.dtype}, weight {weight_h.dtype}: one floating-point dtype is needed")
    if x.shape[-1] > MAX_FEATURES:
        raise KernelError(f"the last axis of x is {x.shape[-1]}, at most {MAX_FEATURES} are taken")
