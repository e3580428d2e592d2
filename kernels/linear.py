"""Linear layers over weights packed once at load.

Legend: T tokens, I input features, O output features.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from espalier.kernels import native
from espalier.kernels.errors import KernelError
from espalier.kernels.packed_linear import PackedLinear

WeightFormat = Literal["float32", "bfloat16", "float16", "int8"]

EXACT_ROWS = 32


class Linear(Protocol):
    """A linear layer: [T, I] to [T, O] in the dtype of its input."""

    in_features: int
    out_features: int

    def __call__(self, x_ti: Tensor) -> Tensor:
        """Apply the layer."""
        ...


class TorchLinear:
    """A linear layer by torch's own matrix product.

    With `exact`, rows go through it in blocks of a fixed height, since matrix libraries add up in another order for
    other heights.
    """

    __slots__ = ("bias_o", "exact", "in_features", "out_features", "weight_oi")

    def __init__(self, weight_oi: Tensor, bias_o: Tensor | None, exact: bool) -> None:
        self.weight_oi, self.bias_o, self.exact = weight_oi, bias_o, exact
        self.out_features, self.in_features = weight_oi.shape

    def __call__(self, x_ti: Tensor) -> Tensor:
        if not self.exact:
            return F.linear(x_ti, self.weight_oi, self.bias_o)
        rows = len(x_ti)
        padded = F.pad(x_ti, (0, 0, 0, -rows % EXACT_ROWS))
        blocks = [F.linear(block, self.weight_oi, self.bias_o) for block in padded.split(EXACT_ROWS)]
        return torch.cat(blocks)[:rows] if blocks else x_ti.new_empty(0, self.out_features)


def quantize(weight_oi: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 for each output feature: int8 [O, I] and float32 scales [O]; weight = int8 * scale."""
    wide = weight_oi.float()
    scale_o = wide.abs().amax(dim=1).clamp_min(1e-30) / 127.0
    return (wide / scale_o.unsqueeze(1)).round_().clamp_(-127, 127).to(torch.int8), scale_o


def pack_linear(
    weight_oi: Tensor, bias_o: Tensor | None, weight_format: WeightFormat, *, exact: bool = False
) -> Linear:
    """Pack a weight [O, I] for its device; the caller drops the source.

    float32 and int8 on the CPU use the native library where there is one, whose results never depend on T. int8
    without it is the same rounding of weights, kept in float32. Raises KernelError for int8 on a GPU.
    """
    if weight_oi.ndim != 2:
        raise KernelError(f"weight has shape {tuple(weight_oi.shape)}, two axes are needed")
    if bias_o is not None and bias_o.shape != weight_oi.shape[:1]:
        raise KernelError(f"bias has shape {tuple(bias_o.shape)}, the weight has {weight_oi.shape[0]} outputs")
    if weight_format == "int8":
        return _pack_int8(weight_oi, bias_o, exact)
    dtype = getattr(torch, weight_format)
    weight_oi = weight_oi.to(dtype)
    bias_o = None if bias_o is None else bias_o.to(dtype)
    if native.is_plain(weight_oi) and (library := native.library()) is not None:
        return PackedLinear(library, weight_oi, None, bias_o)
    return TorchLinear(weight_oi.contiguous(), bias_o, exact)


def _pack_int8(weight_oi: Tensor, bias_o: Tensor | None, exact: bool) -> Linear:
    if weight_oi.device.type != "cpu":
        raise KernelError("int8 weights are for the CPU; take bfloat16 or float16 on a GPU")
    weight, scale = quantize(weight_oi)
    if (library := native.library()) is not None:
        return PackedLinear(library, weight, scale, bias_o)
    return TorchLinear(weight.float() * scale.unsqueeze(1), None if bias_o is None else bias_o.float(), exact)
