"""Attention state in host memory: a pool of slots of its own, within a bound, under a prefix tree of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.engine.kv_pool import KVPool
from espalier.engine.slots import SlotAllocator
from espalier.radix import Node, PrefixTree, Root
from espalier.radix.run import EMPTY, Ids


class HostTier:
    """`pool` is on the CPU. Paths are whole: a run is only taken in where all before it is there."""

    def __init__(self, pool: KVPool) -> None:
        self._pool = pool
        self._slots = SlotAllocator(pool.num_slots)
        self.tree = PrefixTree(capacity=pool.num_slots, ghost_tokens=0)

    def match(self, root: Root, token_ids: Ids, now: float) -> tuple[Node, Ids]:
        """The longest prefix, locked until `unlock`: where it ends, and its slots here."""
        match = self.tree.match(root, token_ids, now)
        self.tree.lock(match.node)
        return match.node, match.slots

    def unlock(self, node: Node) -> None:
        """Undo `match`."""
        self.tree.unlock(node)

    def take(self, count: int, root: Root) -> Ids | None:
        """Slots for so many tokens, for which others may go; None if there are none."""
        if self._slots.num_free < count:
            for gone in self.tree.evict(count - self._slots.num_free, root.tenant):
                self._slots.give(gone.slots)
        return self._slots.take(count) if self._slots.num_free >= count else None

    def give(self, slots: Ids) -> None:
        """Take back slots that were not used."""
        self._slots.give(slots)

    def keep(self, node: Node, now: float, expires: float) -> None:
        """The path to `node` is wanted until then; see `PrefixTree.insert`."""
        self.tree.insert(node, EMPTY, EMPTY, now, expires=expires)

    def insert(self, node: Node, token_ids: Ids, slots: Ids, now: float, expires: float) -> None:
        """Slots now hold these tokens, which follow `node`; those that were there already are free again."""
        kept = self.tree.insert(node, token_ids, slots, now, expires=expires).slots
        self._slots.give(slots[slots != kept])

    def forget(self, root: Root, token_ids: Ids, now: float) -> None:
        """Remove a path as far as no other has it; its state is overwritten."""
        self._erase(self.tree.forget(root, token_ids, now))

    def expire(self, now: float) -> None:
        """Remove what was wanted until now; its state is overwritten."""
        self._erase(self.tree.expire(now))

    def read(self, slots: Ids) -> tuple[Tensor, Tensor]:
        """Keys and values of slots; for the worker's thread."""
        return self._pool.read(torch.from_numpy(slots).long())

    def write(self, slots: Ids, k: Tensor, v: Tensor) -> None:
        """Fill slots; for the worker's thread."""
        self._pool.write(torch.from_numpy(slots).long(), k, v)

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold."""
        self.tree.check()

    def _erase(self, freed: Ids) -> None:
        if len(freed):
            self._pool.erase(torch.from_numpy(freed).long())
        self._slots.give(freed)
