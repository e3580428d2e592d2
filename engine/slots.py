"""Which KV slots are free. Hands out rising runs where it can, so that a history is few runs. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espalier.radix.run import Part, spelled


class SlotAllocator:
    """Free slots of a pool of `num_slots`; `num_free` of them are left."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.num_free = num_slots
        # A stack: its top is the lowest slot, so that what is taken first lies together.
        self._stack = np.arange(num_slots - 1, -1, -1, dtype=np.int32)
        self._given_back = 0

    def take(self, count: int) -> NDArray[np.int32]:
        """`count` free slots. The caller has made sure that there are as many."""
        assert count <= self.num_free, "more slots taken than are free"
        if count > 16 and self._given_back > self.num_free // 2:
            self._tidy()
        self.num_free -= count
        return self._stack[self.num_free : self.num_free + count][::-1].copy()

    def give(self, slots: Part) -> None:
        """Take slots back, as the tree keeps them or as an array."""
        assert self.num_free + len(slots) <= self.num_slots, "a slot was given back twice"
        self._stack[self.num_free : self.num_free + len(slots)] = spelled(slots)[::-1]
        self.num_free += len(slots)
        self._given_back += len(slots)

    def free_slots(self) -> NDArray[np.int32]:
        """All free slots, for checks."""
        return self._stack[: self.num_free].copy()

    def _tidy(self) -> None:
        self._stack[: self.num_free] = np.sort(self._stack[: self.num_free])[::-1]
        self._given_back = 0
