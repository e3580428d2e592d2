"""Rotary position embedding (Su et al., 2021), halves rotated against each other as in GPT-NeoX.

Legend: T tokens, N heads, D head size, P positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.errors import KernelError


def rotary(x_tnd: Tensor, cos_sin_pd: Tensor, positions_t: Tensor) -> Tensor:
    """`x_tnd` rotated to its positions. `cos_sin_pd` float32 holds D/2 cosines, then D/2 sines."""
    if cos_sin_pd.shape[-1] != x_tnd.shape[-1]:
        raise KernelError(f"cos_sin has {cos_sin_pd.shape[-1]} columns, heads have {x_tnd.shape[-1]}")
    cos, sin = cos_sin_pd[positions_t].unsqueeze(1).chunk(2, dim=-1)
    first, second = x_tnd.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x_tnd.dtype)
