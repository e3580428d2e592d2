"""When state is given up at the latest. Until then it goes after what has no such time; see `Node.expires`."""

from __future__ import annotations

import heapq
from itertools import count

from espalier.radix.node import Node


class Expiries:
    """The nodes of one tree whose time is set. One that got a later time is looked at again then."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Node]] = []
        self._ticket = count()

    def note(self, node: Node) -> None:
        """A node has got its time, or is the first part of one that had."""
        if node.is_passing:
            heapq.heappush(self._heap, (node.expires, next(self._ticket), node))

    def due(self, now: float) -> list[Node]:
        """Take the nodes whose time has come and that still have slots."""
        found: list[Node] = []
        while self._heap and self._heap[0][0] <= now:
            _, _, node = heapq.heappop(self._heap)
            if node.expires > now:
                self.note(node)
            elif node.parent is not None and len(node.slots):
                found.append(node)
        return found
