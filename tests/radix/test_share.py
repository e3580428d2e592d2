"""One tenant's flood and another's hit rate."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.radix import PrefixTree, Root
from tests.radix.model import evicted, ids, put

CAPACITY = 2000
TURN = 20


class Pool:
    """A tree, its free slots, and the requests of two tenants."""

    def __init__(self, *, shares: bool = True) -> None:
        self.tree = PrefixTree(capacity=CAPACITY if shares else None)
        self.free = list(range(CAPACITY))
        self.now = 0.0
        self.asked = self.hit = 0

    def request(self, root: Root, tokens: np.ndarray) -> int:
        """Serve one; returns how many of its tokens were there."""
        self.now += 1.0
        match = self.tree.match(root, tokens, self.now)
        self.tree.lock(match.node)
        have = len(match.slots)
        need = len(tokens) - have - len(self.free)
        if need > 0:
            self.free += evicted(self.tree, need, str(root.tenant))
        slots = [self.free.pop() for _ in range(len(tokens) - have)]
        self.tree.insert(match.node, tokens[have:], ids(*slots), self.now)
        self.tree.unlock(match.node)
        return have


def hit_rate(pool: Pool, working_set: int, flood: int) -> float:
    """The share of known tokens that tenant `a` finds, of sessions that take turns, while `b` floods the pool."""
    rng, sessions = np.random.default_rng(1), 8
    known = [rng.integers(0, 1000, working_set // sessions).astype(np.int32) for _ in range(sessions)]
    hit = asked = 0
    for turn in range(30 * sessions):
        tokens = known[turn % sessions]
        have = pool.request(Root("a"), tokens)
        if turn >= 10 * sessions:
            hit, asked = hit + have, asked + len(tokens)
        for _ in range(flood):
            pool.request(Root("b"), rng.integers(0, 1000, 400).astype(np.int32))
    pool.tree.check()
    return hit / asked


@pytest.mark.parametrize("share_used", [0.3, 0.7, 1.0])
def test_a_flood_does_not_cool_a_tenant_within_its_share(share_used: float) -> None:
    working_set = int(CAPACITY / 2 * share_used)
    alone, flooded = hit_rate(Pool(), working_set, 0), hit_rate(Pool(), working_set, 5)
    assert alone > 0.9
    assert flooded >= 0.9 * alone
    assert hit_rate(Pool(shares=False), working_set, 5) < 0.5


def test_what_is_above_a_share_goes_first() -> None:
    tree = PrefixTree(capacity=10)
    put(tree, Root("a"), ids(1, 2, 3), ids(0, 1, 2), now=1)
    put(tree, Root("b"), ids(1, 2, 3, 4, 5, 6, 7), ids(3, 4, 5, 6, 7, 8, 9), now=2)
    assert tree.shares.room("a") == 3 + 2
    assert tree.shares.room("b") == 7
    assert evicted(tree, 2, "a") == [8, 9]
    assert evicted(tree, 1, "b") == [7]


def test_a_newcomer_has_a_share() -> None:
    tree = PrefixTree(capacity=9)
    for at, tenant in enumerate("ab"):
        put(tree, Root(tenant), ids(1, 2, 3, 4), ids(*range(4 * at, 4 * at + 4)), now=1)
    assert tree.shares.room("c") == 2 * (4 - 3)


def test_a_tenant_that_is_idle_keeps_nothing_from_others() -> None:
    tree = PrefixTree(capacity=10)
    put(tree, Root("a"), ids(1, 2, 3), ids(0, 1, 2), now=0)
    put(tree, Root("b"), ids(1, 2, 3, 4), ids(3, 4, 5, 6), now=1000)
    assert tree.shares.room("b") == 7
    assert sorted(evicted(tree, 3, "b")) == [0, 1, 2]
