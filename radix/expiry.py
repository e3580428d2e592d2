"""When state is given up at the latest. Until then it goes after what has no such time; see `Node.expires`."""

from __future__ import annotations

import heapq
from itertools import count

from espalier.radix.node import Node

_FEW_NOTES = 1000


class Expiries:
    """The nodes of one tree whose time is set. One that got a later time is looked at again then."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Node]] = []
        self._most_notes = _FEW_NOTES
        self._ticket = count()

    def note(self, node: Node) -> None:
        """A node has got its time, or is the first part of one that had."""
        if node.is_passing:
            if len(self._heap) >= self._most_notes:
                self._tidy()  # before it is noted: a new node gets its slots only then
            heapq.heappush(self._heap, (node.expires, next(self._ticket), node))

    def due(self, now: float) -> list[Node]:
        """Take the nodes whose time has come and that still have slots."""
        found: list[Node] = []
        while self._heap and self._heap[0][0] <= now:
            _, _, node = heapq.heappop(self._heap)
            if node.expires > now:
                self.note(node)
            elif _is_live(node):
                found.append(node)
        return found

    @property
    def num_notes(self) -> int:
        """Notes of nodes, those among them that no longer hold."""
        return len(self._heap)

    def _tidy(self) -> None:
        """Take out the notes that no longer hold: of nodes that are gone, have no time any more, or are noted twice."""
        kept = {node: (node.expires, ticket, node) for _, ticket, node in self._heap if _is_live(node)}
        self._heap = [entry for entry in kept.values() if entry[2].is_passing]
        heapq.heapify(self._heap)
        self._most_notes = max(_FEW_NOTES, 2 * len(self._heap))


def _is_live(node: Node) -> bool:
    return node.parent is not None and len(node.slots) > 0
