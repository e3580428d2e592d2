"""Keeps the ids of tokens whose slots are gone, within a bound, so that a miss can be explained: evicted, or new.

Ghosts lie in the tree, below the root of their tenant and salt: nobody learns of another's.
"""

from __future__ import annotations

from operator import attrgetter

from espalier.radix.node import Node
from espalier.radix.roots import Roots
from espalier.radix.run import EMPTY, Ids, common_prefix_len, trimmed

_NUM_GHOSTS = attrgetter("num_ghosts")


class Ghosts:
    """`num_tokens` are all ghosts; `prune` brings them to at most `limit`, from the tenant that has the most."""

    def __init__(self, roots: Roots, limit: int) -> None:
        self.limit, self.num_tokens = limit, 0
        self._roots = roots

    def note(self, node: Node, count: int) -> None:
        """`count` tokens at the end of a node's slots are gone."""
        self.num_tokens += count
        node.account.num_ghosts += count
        node.account.ghosts.setdefault(node)

    def revive(self, node: Node, count: int) -> None:
        """`count` ghosts of a node are about to get slots again."""
        self.num_tokens -= count
        node.account.num_ghosts -= count
        if node.num_ghosts == count:
            node.account.ghosts.pop(node, None)

    def along(self, node: Node, token_ids: Ids) -> int:
        """How many of the tokens, which follow the path above `node`, are ghosts of it and below."""
        count = 0
        below: Node | None = node
        while below is not None:
            shared = common_prefix_len(below.token_ids, token_ids)
            count += shared - len(below.slots)
            token_ids = token_ids[shared:]
            is_whole = shared == len(below.token_ids)
            below = below.children.get(int(token_ids[0])) if is_whole and len(token_ids) else None
        return count

    def prune(self) -> None:
        """Forget what is gone longest, down to the limit."""
        while self.num_tokens > self.limit:
            account = max(self._roots.shares.accounts.values(), key=_NUM_GHOSTS)
            node = next(iter(account.ghosts))
            if node.children:
                account.ghosts.move_to_end(node)
            else:
                self._erase_one(node)

    def erase(self, node: Node) -> None:
        """Forget the ghosts of a node, and those below it; a node without slots goes."""
        if not node.num_ghosts:
            return
        found = [node]
        for one in found:
            found.extend(one.children.values())
        for one in reversed(found):
            self._erase_one(one)

    def _erase_one(self, node: Node) -> None:
        account, held = node.account, len(node.slots)
        count = len(node.token_ids) - held
        self.num_tokens -= count
        account.num_ghosts -= count
        account.ghosts.pop(node, None)
        if held:
            node.token_ids = trimmed(node.token_ids, held)
            return
        parent = node.parent
        assert parent is not None, "a root has no ghosts"
        del parent.children[int(node.token_ids[0])]
        node.token_ids, node.parent = EMPTY, None
        self._roots.drop_if_empty(parent)
