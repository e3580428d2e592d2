"""Splits an edge in two. Whoever holds a node goes on holding the same tokens."""

from __future__ import annotations

from espalier.radix.node import Node
from espalier.radix.slots import Slots


def split_live(node: Node, at: int) -> Node:
    """Put a node above `node` that takes the first `at` tokens, which have slots; `node` stays the end it was."""
    parent = node.parent
    assert parent is not None and 0 < at < len(node.slots)
    upper = Node(parent, node.account, node.token_ids[:at].copy(), node.slots.split(at), node.last_used)
    upper.locks, upper.leases, upper.is_abandoned = node.locks, node.leases, node.is_abandoned
    upper.expires = node.expires
    upper.num_live = 1
    parent.children[int(node.token_ids[0])] = upper
    upper.children[int(node.token_ids[at])] = node
    node.token_ids = node.token_ids[at:].copy()
    node.parent, node.begin = upper, node.begin + at
    return upper


def split_ghosts(node: Node, at: int) -> Node:
    """Put a node below `node` that takes its run from `at` on, none of which has slots; `node` stays the end it was."""
    assert len(node.slots) <= at < len(node.token_ids)
    lower = Node(node, node.account, node.token_ids[at:].copy(), Slots(), node.last_used)
    lower.begin = node.begin + at
    lower.children = node.children
    for child in lower.children.values():
        child.parent = lower
    node.token_ids = node.token_ids[:at].copy()
    node.children = {int(lower.token_ids[0]): lower}
    ghosts = node.account.ghosts
    ghosts[lower] = None
    # Gone before what lies above it, so forgotten before it.
    ghosts.move_to_end(lower, last=False)
    if not node.num_ghosts:
        ghosts.pop(node, None)
    return lower
