"""The gate of a gated linear unit (Shazeer, 2020). Legend: T tokens, I features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError


def silu_mul(gate_up_t2i: Tensor) -> Tensor:
    """SiLU of the first half of the features times the second half: [T, 2 I] to [T, I].

    Leading axes may be any, in any strides; on a GPU a last stride other than 1 costs a copy.
    """
    if gate_up_t2i.shape[-1] % 2 or not gate_up_t2i.is_floating_point():
        raise KernelError(
            f"the last axis is {gate_up_t2i.shape[-1]} of {gate_up_t2i.dtype}, an even one of floats is needed"
        )
    if use_triton(gate_up_t2i):
        from espalier.kernels.triton import silu_mul as kernel

        return kernel.silu_mul(gate_up_t2i)
    gate, up = gate_up_t2i.chunk(2, dim=-1)
    return F.silu(gate) * up
