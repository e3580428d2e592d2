"""Who holds which nodes: locks of running requests, leases of sessions. A node's counts are those of all below it, too.

What a request holds is never evicted. What a session holds is not either, but its lease may be ended for a request that
could not run otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from espalier.radix.node import Node, Top
from espalier.radix.roots import Roots


class Holds:
    """The part of the tree that counts: `num_locked` tokens are held by requests, `num_leased` by sessions."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.num_locked = self.num_leased = 0

    def lock(self, node: Node) -> None:
        """Protect a node and all above it from eviction, for a running request."""
        for above in node.path():
            if above.locks == 0:
                self.num_locked += len(above.slots)
                if above.leases == 0:
                    above.account.num_evictable -= len(above.slots)
            above.locks += 1

    def unlock(self, node: Node) -> None:
        """Undo one `lock` of this node."""
        for above in node.path():
            assert above.locks > 0, "unlock without lock"
            above.locks -= 1
            if above.locks == 0:
                self.num_locked -= len(above.slots)
                self._let_go(above)

    def add_lease(self, node: Node) -> None:
        """Protect a node and all above it from eviction, for a session."""
        for above in node.path():
            if above.leases == 0:
                self.num_leased += len(above.slots)
                above.account.num_leased += len(above.slots)
                if above.locks == 0:
                    above.account.num_evictable -= len(above.slots)
            above.leases += 1

    def remove_lease(self, node: Node) -> None:
        """Undo one `add_lease` of this node."""
        for above in node.path():
            assert above.leases > 0, "no lease to remove"
            above.leases -= 1
            if above.leases == 0:
                self.num_leased -= len(above.slots)
                above.account.num_leased -= len(above.slots)
                self._let_go(above)

    def freed_without(self, nodes: Iterable[Node]) -> int:
        """Tokens that nobody would hold without one lease of each of these nodes."""
        counts = Counter(above for node in nodes for above in node.path())
        return sum(len(node.slots) for node, count in counts.items() if node.leases == count and not node.locks)

    def _let_go(self, node: Node) -> None:
        if not (node.locks or node.leases):
            node.account.num_evictable += len(node.slots)
            node.account.offer(node)
            if isinstance(node, Top):
                self.roots.drop_if_empty(node)
