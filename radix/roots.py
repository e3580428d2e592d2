"""The roots of a prefix tree, one for each tenant and salt; each is there while something is below it or it is held."""

from __future__ import annotations

from espalier.radix.node import Node, Root, Top
from espalier.radix.share import Shares


class Roots:
    """Roots by key, and the tenants' accounts."""

    __slots__ = ("by_key", "shares")

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.by_key: dict[Root, Top] = {}

    def of(self, key: Root, now: float) -> Top:
        """The root of a key, made if it isn't there."""
        account = self.shares.of(key.tenant, now)
        top = self.by_key.get(key)
        if top is None:
            top = self.by_key[key] = Top(key, account, now)
            account.num_roots += 1
        return top

    def drop_if_empty(self, node: Node | None) -> None:
        """Drop a root that nobody holds and nothing is below."""
        if not isinstance(node, Top) or node.children or node.locks or node.leases:
            return
        if self.by_key.get(node.key) is node:
            del self.by_key[node.key]
            node.account.num_roots -= 1
            self.shares.close(node.account)

    def nodes(self) -> list[Node]:
        """All nodes, roots and ghosts included."""
        found: list[Node] = list(self.by_key.values())
        for node in found:
            found.extend(node.children.values())
        return found
