"""Root mean square norm (Zhang and Sennrich, 2019). Legend: H features."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.errors import KernelError


def rms_norm(x: Tensor, weight_h: Tensor, eps: float) -> Tensor:
    """`x` [..., H] over its root mean square, times `weight_h`; computed in float32, returned in x's dtype."""
    if x.shape[-1:] != weight_h.shape:
        raise KernelError(f"weight has shape {tuple(weight_h.shape)}, the last axis of x is {x.shape[-1]}")
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * scale).to(x.dtype) * weight_h
