"""KV memory: one pool of token slots for all layers, allocated once.

Legend: L layers, M KV heads, S slots, D head size. On the CPU a head's slots lie next to each other ([L, M, S, D]), so
that attention streams through them; on a GPU a slot's heads do ([L, S, M, D]).
"""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.engine.config import ModelConfig


class KVPool:
    """Keys and values of `num_slots` tokens, and of one more: whoever has nothing to keep writes to `spare_slot`."""

    __slots__ = ("_k", "_v", "num_slots", "spare_slot", "storage_k", "storage_v")

    def __init__(self, config: ModelConfig, num_slots: int, *, device: str, dtype: torch.dtype) -> None:
        self.num_slots = self.spare_slot = num_slots
        heads, size = config.num_kv_heads, config.head_dim
        near = device == "cpu"
        slots = num_slots + 1
        shape = (config.num_layers, heads, slots, size) if near else (config.num_layers, slots, heads, size)
        # Untouched memory costs nothing until it is used: no fill.
        self.storage_k = torch.empty(shape, device=device, dtype=dtype)
        self.storage_v = torch.empty(shape, device=device, dtype=dtype)
        self._k = self.storage_k.transpose(1, 2) if near else self.storage_k
        self._v = self.storage_v.transpose(1, 2) if near else self.storage_v

    def k(self, layer: int) -> Tensor:
        """Keys of a layer, a view [S, M, D]."""
        return self._k[layer]

    def v(self, layer: int) -> Tensor:
        """Values of a layer, a view [S, M, D]."""
        return self._v[layer]

    def read(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of the keys and of the values in these slots (int64, n of them), on the CPU: each [L, n, M, D]."""
        return self._k[:, slots].contiguous().cpu(), self._v[:, slots].contiguous().cpu()

    def write(self, slots: Tensor, k: Tensor, v: Tensor) -> None:
        """Put keys and values [L, n, M, D] into these slots (int64, on the pool's device)."""
        self._k[:, slots] = k.to(self._k.device)
        self._v[:, slots] = v.to(self._v.device)

    def erase(self, slots: Tensor) -> None:
        """Overwrite slots (int64) with zeros: what they held was deleted."""
        self._k[:, slots] = 0
        self._v[:, slots] = 0

    def poison(self, slots: Tensor) -> None:
        """Fill freed slots (int64) with NaN: who reads them shows it. For debugging."""
        self._k[:, slots] = float("nan")
        self._v[:, slots] = float("nan")
