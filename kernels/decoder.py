"""stub"""
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
from torch import Tensor
from espalier.kernels.linear import Linear
@dataclass(frozen=True, slots=True)
class DecoderLayer:
    input_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Linear
    post_norm: Tensor
    gate_up: Linear
    down: Linear
    window: int | None
NativeDecoder = Any
def native_decoder(*a: Any, **k: Any) -> NativeDecoder | None:
    return None
