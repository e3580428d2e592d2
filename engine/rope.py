"""Rotary tables: cosines and sines of every position, with the scalings for longer contexts.

Linear: Chen et al., 2023. YaRN: Peng et al., 2023. llama3: as published with Llama 3.1.
Legend: D head size, P positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from espalier.engine.config import Rope


def _plain(rope: Rope, head_dim: int) -> Tensor:
    exponent = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    return 1.0 / (rope.theta**exponent)


def _default(rope: Rope, head_dim: int) -> tuple[Tensor, float]:
    return _plain(rope, head_dim), 1.0


def _linear(rope: Rope, head_dim: int) -> tuple[Tensor, float]:
    return _plain(rope, head_dim) / rope.factor, 1.0


def _llama3(rope: Rope, head_dim: int) -> tuple[Tensor, float]:
    frequency = _plain(rope, head_dim)
    length = 2 * math.pi / frequency
    longest, shortest = (
        rope.original_max_positions / rope.low_freq_factor,
        rope.original_max_positions / rope.high_freq_factor,
    )
    share = (rope.original_max_positions / length - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    between = (1 - share) * frequency / rope.factor + share * frequency
    scaled = torch.where(length > longest, frequency / rope.factor, frequency)
    return torch.where((length <= longest) & (length >= shortest), between, scaled), 1.0


def _mscale(factor: float, weight: float = 1.0) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _yarn_attention_factor(rope: Rope) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return _mscale(rope.factor, rope.mscale) / _mscale(rope.factor, rope.mscale_all_dim)
    return _mscale(rope.factor)


def _yarn(rope: Rope, head_dim: int) -> tuple[Tensor, float]:
    def dimension(rotations: float) -> float:
        return head_dim * math.log(rope.original_max_positions / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    span = high - low if high != low else 0.001
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / span).clamp(0, 1)
    frequency = _plain(rope, head_dim)
    return frequency / rope.factor * ramp + frequency * (1 - ramp), _yarn_attention_factor(rope)


SCALINGS: dict[str, Callable[[Rope, int], tuple[Tensor, float]]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}


def rotary_table(rope: Rope, head_dim: int, num_positions: int) -> Tensor:
    """float32 [P, D]: D/2 cosines, then D/2 sines, times the attention factor of the scaling."""
    frequency, factor = SCALINGS[rope.kind](rope, head_dim)
    angle = torch.outer(torch.arange(num_positions, dtype=torch.float32), frequency)
    return torch.cat((angle.cos(), angle.sin()), dim=-1) * factor
