"""What always holds of a prefix tree, checked node by node; for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from espalier.radix.node import Node, Top

if TYPE_CHECKING:
    from espalier.radix.tree import PrefixTree


def check(tree: PrefixTree) -> None:
    """Raise AssertionError if an invariant does not hold."""
    nodes = tree.roots.nodes()
    for key, top in tree.roots.by_key.items():
        assert top.parent is None and top.key == key and not len(top.token_ids)
        assert top.account is tree.shares.accounts[key.tenant], "a root in another tenant's account"
        assert top.children or top.locks or top.leases, "an empty root that nobody holds"
    for node in nodes:
        _check_node(node)
    slots = tree.slots()
    assert len(np.unique(slots)) == len(slots), "a slot lies twice in the tree"
    _check_counts(tree, nodes)


def _check_node(node: Node) -> None:
    assert len(node.slots) == sum(map(len, node.slots.parts)) <= len(node.token_ids)
    assert isinstance(node, Top) or len(node.token_ids), "an empty edge"
    assert not (node.num_ghosts and node.num_live), "slots behind a ghost"
    assert not (node.num_ghosts == len(node.token_ids) > 0 and (node.locks or node.leases)), "a ghost that is held"
    assert (node in node.account.ghosts) == (node.num_ghosts > 0)
    children = node.children.values()
    assert node.num_live == sum(len(child.slots) > 0 for child in children)
    assert node.locks >= sum(child.locks for child in children), "a lock that its ancestors don't know"
    assert node.leases >= sum(child.leases for child in children), "a lease that its ancestors don't know"
    assert node.stamp is not None or not node.is_evictable, "an evictable leaf was never offered"
    for first, child in node.children.items():
        assert child.parent is node and int(child.token_ids[0]) == first
        assert child.begin == node.begin + len(node.token_ids)
        assert child.account is node.account, "tenants share a path"
        assert child.expires <= node.expires or not len(child.slots), "a path that ends before what continues it"


def _check_counts(tree: PrefixTree, nodes: list[Node]) -> None:
    held, evictable, leased, ghosts = (Counter[Hashable]() for _ in range(4))
    for node in nodes:
        tenant, count = node.account.tenant, len(node.slots)
        held[tenant] += count
        leased[tenant] += count if node.leases else 0
        evictable[tenant] += 0 if node.locks or node.leases else count
        ghosts[tenant] += node.num_ghosts
    for tenant, account in tree.shares.accounts.items():
        counted = (held[tenant], evictable[tenant], leased[tenant], ghosts[tenant])
        assert counted == (account.num_held, account.num_evictable, account.num_leased, account.num_ghosts)
    assert tree.num_tokens == held.total() and tree.num_leased == leased.total()
    assert tree.num_locked == sum(len(node.slots) for node in nodes if node.locks)
    assert tree.ghosts.num_tokens == ghosts.total()
