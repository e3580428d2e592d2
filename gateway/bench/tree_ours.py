"""Our prefix tree for `espalier bench radix`: `python -m espalier.gateway.bench.tree_ours TRACE`."""

from __future__ import annotations

from typing import Any

from espalier.gateway.bench.tree_run import Ids, main
from espalier.radix import Node, PrefixTree, Root

ROOT = Root(0)


class Ours:
    """See `Tree`."""

    def __init__(self) -> None:
        self._tree = PrefixTree(ghost_tokens=0)
        self._now = 0.0

    def tokens(self, ids: Ids) -> Ids:
        """As they are."""
        return ids

    def slots(self, slots: Ids) -> Ids:
        """As they are."""
        return slots

    def match(self, tokens: Ids, length: int) -> tuple[Node, int]:
        """See `Tree`; the slots found are made, too."""
        self._now += 1.0
        match = self._tree.match(ROOT, tokens[:length], self._now)
        return match.node, len(match.slots)

    def lock(self, node: Node) -> Node:
        """See `Tree`."""
        self._tree.lock(node)
        return node

    def unlock(self, lock: Node) -> None:
        """See `Tree`."""
        self._tree.unlock(lock)

    def insert(self, node: Node, matched: int, tokens: Ids, slots: Ids, length: int) -> Any:
        """See `Tree`."""
        return self._tree.insert(node, tokens[matched:length], slots[matched:length], self._now).node

    def evict(self, count: int) -> int:
        """See `Tree`."""
        return sum(len(gone.slots) for gone in self._tree.evict(count))


if __name__ == "__main__":
    main(Ours)
