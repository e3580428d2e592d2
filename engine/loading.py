"""Requests whose prefix is on its way up from a lower tier: the slots it goes to, and where it will hang in the tree.

They neither wait nor run; when their state is there, they wait again, at the front. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espalier.engine.sequence import Sequence
from espalier.engine.slots import SlotAllocator
from espalier.engine.tier import Found, LowerTiers
from espalier.radix import Node, PrefixTree
from espalier.radix.run import EMPTY, Ids


@dataclass(slots=True)
class _Load:
    sequence: Sequence
    node: Node
    found: Found
    token_ids: Ids
    slots: Ids
    is_wanted: bool = True


class Loading:
    """The loads under way. The node below which each begins is locked until it is done."""

    def __init__(self, tiers: LowerTiers, tree: PrefixTree, slots: SlotAllocator) -> None:
        self._tiers, self._tree, self._slots = tiers, tree, slots
        self._loads: dict[int, _Load] = {}

    def __len__(self) -> int:
        return len(self._loads)

    def sequences(self) -> list[Sequence]:
        """Who waits for a load."""
        return [load.sequence for load in self._loads.values() if load.is_wanted]

    def begin(self, found: Found, sequence: Sequence, slots: Ids, now: float) -> None:
        """Load what the device lacks of the tokens found into these slots; the sequence's node stays locked."""
        assert sequence.node is not None
        ids = sequence.ids(0, found.end).copy()
        ticket = self._tiers.load(found, sequence.root, ids, slots, now)
        self._loads[ticket] = _Load(sequence, sequence.node, found, ids[found.end - len(slots) :], slots)
        sequence.node = None

    def settle(self, now: float, wait_s: float = 0.0) -> list[Sequence]:
        """Take in what is there; returns who waited for it."""
        ready: list[Sequence] = []
        for ticket, is_right in self._tiers.poll(wait_s).items():
            load = self._loads.pop(ticket)
            if is_right:
                kept = self._tree.insert(load.node, load.token_ids, load.slots, now).slots
                self._slots.give(load.slots[load.slots != kept])
                load.sequence.loaded_from, load.sequence.loaded_tokens = load.found.tier, len(load.slots)
            else:
                self._slots.give(load.slots)
            self._tree.unlock(load.node)
            if load.is_wanted:
                ready.append(load.sequence)
        return ready

    def cancel(self, sequence: Sequence) -> None:
        """Nobody waits for it any more; what is loaded stays."""
        for load in self._loads.values():
            load.is_wanted = load.is_wanted and load.sequence is not sequence

    def slots(self) -> Ids:
        """Slots that belong to loads."""
        return np.concatenate([load.slots for load in self._loads.values()] or [EMPTY])
