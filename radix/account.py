"""What one tenant has in the tree, and the order in which it would go."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import TYPE_CHECKING

from espalier.radix.policy import Leaf, Policy

if TYPE_CHECKING:
    from espalier.radix.node import Node

ABANDONED = float("-inf")
"""The score of a branch that its session has left: first to go, whatever the policy."""
_FEW_OFFERS = 1000


class Account:
    """Tokens of one tenant: `num_held` with slots, `num_evictable` of them held by nobody, `num_leased` by sessions.

    `ghosts` are the nodes with tokens that are gone, the longest gone first, and `num_ghosts` those tokens.
    """

    __slots__ = (
        "_heap",
        "_most_offers",
        "_policy",
        "_ticket",
        "ghosts",
        "last_used",
        "num_evictable",
        "num_ghosts",
        "num_held",
        "num_leased",
        "num_roots",
        "tenant",
    )

    def __init__(self, tenant: Hashable, policy: Policy, now: float) -> None:
        self.tenant, self.last_used = tenant, now
        self.num_held = self.num_evictable = self.num_leased = self.num_ghosts = self.num_roots = 0
        self.ghosts: OrderedDict[Node, None] = OrderedDict()
        self._policy = policy
        self._heap: list[tuple[float, int, Node]] = []
        self._most_offers = _FEW_OFFERS
        self._ticket = count()

    def offer(self, node: Node) -> None:
        """Note that a node may go. One that is used again and again stays noted once, at its first score."""
        if not node.is_evictable:
            return
        score = self._score(node)
        if node.stamp is None or score < node.stamp:
            node.stamp = score
            heapq.heappush(self._heap, (score, next(self._ticket), node))
            if len(self._heap) > self._most_offers:
                self._tidy()

    def least(self) -> Node | None:
        """Take the evictable leaf that goes first; the caller cuts it and offers what is left."""
        while self._heap:
            stamp, _, node = heapq.heappop(self._heap)
            if node.stamp != stamp:
                continue
            node.stamp = None
            if not node.is_evictable:
                continue
            if self._score(node) <= stamp:
                return node
            self.offer(node)
        return None

    @property
    def lowest(self) -> float:
        """A score that none of its leaves is under."""
        return self._heap[0][0] if self._heap else float("inf")

    @property
    def num_offers(self) -> int:
        """Notes of nodes that may go, those among them that no longer hold."""
        return len(self._heap)

    def _tidy(self) -> None:
        """Take out the notes that no longer hold: of nodes that are gone, held again, or noted anew."""
        kept: list[tuple[float, int, Node]] = []
        for entry in self._heap:
            stamp, _, node = entry
            if node.stamp == stamp and node.is_evictable:
                kept.append(entry)
            elif node.stamp == stamp:
                node.stamp = None
        heapq.heapify(kept)
        self._heap = kept
        self._most_offers = max(_FEW_OFFERS, 2 * len(kept))

    def _score(self, node: Node) -> float:
        if node.is_abandoned:
            return ABANDONED
        # What is wanted until some time is as good as used then.
        used = node.expires if node.is_passing else node.last_used
        return self._policy.score(Leaf(used, node.begin, node.end))
