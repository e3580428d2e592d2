"""The gate of a gated linear unit (Shazeer, 2020). Legend: T tokens, I features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from espalier.kernels.errors import KernelError


def silu_mul(gate_up_t2i: Tensor) -> Tensor:
    """SiLU of the first half of the features times the second half: [T, 2 I] to [T, I]."""
    if gate_up_t2i.shape[-1] % 2:
        raise KernelError(f"the last axis is {gate_up_t2i.shape[-1]}, an even one is needed")
    gate, up = gate_up_t2i.chunk(2, dim=-1)
    return F.silu(gate) * up
