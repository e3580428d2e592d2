"""Rotary position embedding (Su et al., 2021), halves rotated against each other as in GPT-NeoX.

Legend: T tokens, N heads, D head size, P positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError


def rotary(x_tnd: Tensor, cos_sin_pd: Tensor, positions_t: Tensor) -> Tensor:
    """`x_tnd` rotated to its positions. `cos_sin_pd` float32 holds D/2 cosines, then D/2 sines.

    `positions_t` is int64; on a GPU nobody looks whether the table has them. x may be a view with any strides.
    """
    _check(x_tnd, cos_sin_pd, positions_t)
    if use_triton(x_tnd, cos_sin_pd, positions_t):
        from espalier.kernels.triton import rotary as kernel

        return kernel.rotary(x_tnd, cos_sin_pd, positions_t)
    cos, sin = cos_sin_pd[positions_t].unsqueeze(1).chunk(2, dim=-1)
    first, second = x_tnd.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x_tnd.dtype)


def _check(x_tnd: Tensor, cos_sin_pd: Tensor, positions_t: Tensor) -> None:
    if x_tnd.ndim != 3 or x_tnd.shape[-1] % 2 or not x_tnd.is_floating_point():
        raise KernelError(f"x is {x_tnd.dtype} {tuple(x_tnd.shape)}: floats [T, N, D] with an even D are needed")
    if cos_sin_pd.ndim != 2 or cos_sin_pd.shape[-1] != x_tnd.shape[-1]:
        raise KernelError(f"cos_sin has shape {tuple(cos_sin_pd.shape)}, heads have {x_tnd.shape[-1]} columns")
    if cos_sin_pd.dtype != torch.float32 or cos_sin_pd.stride(-1) != 1:
        raise KernelError(
            f"cos_sin is {cos_sin_pd.dtype}, last stride {cos_sin_pd.stride(-1)}: float32 and 1 are needed"
        )
    if positions_t.dtype != torch.int64 or positions_t.shape != x_tnd.shape[:1]:
        raise KernelError(
            f"positions are {positions_t.dtype} {tuple(positions_t.shape)}, "
            f"int64 for each of {len(x_tnd)} tokens is needed"
        )
