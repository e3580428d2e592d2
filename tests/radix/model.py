"""A dict of prefixes that says what a tree must hold, and random operations on both."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from espalier.radix import Lease, LeaseBudget, LeaseTable, Node, Policy, PrefixTree, Root
from espalier.radix.run import unpacked

Ids: TypeAlias = NDArray[np.int32]
Key: TypeAlias = tuple[Root, tuple[int, ...]]
ROOTS = (Root(0), Root(0, "salt"), Root(1))
SESSIONS = 6
ODDS = {
    "turn": 40,
    "unlock": 25,
    "lock": 5,
    "evict": 10,
    "release": 3,
    "renew": 3,
    "expire": 5,
    "fork": 3,
    "drop": 3,
    "demote": 3,
    "give_way": 3,
    "discard": 3,
    "forget": 3,
    "lapse": 5,
}


def ids(*values: int) -> Ids:
    return np.array(values, dtype=np.int32)


def put(tree: PrefixTree, root: Root, tokens: Ids, slots: Ids, now: float = 0) -> Node:
    """Insert a path of which the tree may have a part."""
    match = tree.match(root, tokens, now)
    tree.lock(match.node)
    have = len(match.slots)
    end = tree.insert(match.node, tokens[have:], slots[have:], now).node
    tree.unlock(match.node)
    return end


def found(tree: PrefixTree, root: Root, tokens: Ids, now: float = 0) -> list[int]:
    match = tree.match(root, tokens, now)
    tree.lock(match.node)
    tree.unlock(match.node)
    return [int(slot) for slot in match.slots]


def evicted(tree: PrefixTree, count: int, tenant: Hashable = None) -> list[int]:
    slots: list[int] = unpacked([gone.slots for gone in tree.evict(count, tenant)]).tolist()
    return slots


class Model:
    """`prefixes` have slots, `ghosts` had them; who holds which; `is_exact` if no ghost is ever forgotten.

    `ends` says of each prefix when it is given up.
    """

    def __init__(self, seed: int, num_slots: int, *, ghost_tokens: int, policy: Policy | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.tree = PrefixTree(capacity=num_slots, ghost_tokens=ghost_tokens, policy=policy)
        self.budget = LeaseBudget(total_bytes=num_slots // 2 * 10, tenant_bytes=num_slots // 3 * 10, bytes_per_token=10)
        self.table = LeaseTable(self.tree, self.budget)
        self.prefixes: dict[Key, int] = {}
        self.ends: dict[Key, float] = {}
        self.ghosts: set[Key] = set()
        self.free = list(range(num_slots))
        self.locked: list[tuple[Node, Key]] = []
        self.leased: dict[int, Key] = {}
        self.now = 0.0
        self.ghost_tokens = ghost_tokens
        self.is_exact = ghost_tokens >= 100

    def step(self) -> None:
        """One random operation."""
        self.now += 1.0
        odds = ODDS if self.ghost_tokens < 100 else {**ODDS, "discard": 0, "forget": 0, "lapse": 0}
        weights = np.array(list(odds.values()), dtype=float)
        getattr(self, self.rng.choice(list(odds), p=weights / weights.sum()))()

    def path(self) -> Key:
        tokens = self.rng.integers(0, 3, size=self.rng.integers(0, 12))
        return ROOTS[self.rng.integers(len(ROOTS))], tuple(tokens.tolist())

    def expected(self, root: Root, tokens: tuple[int, ...]) -> list[int]:
        slots: list[int] = []
        while len(slots) < len(tokens) and (root, tokens[: len(slots) + 1]) in self.prefixes:
            slots.append(self.prefixes[root, tokens[: len(slots) + 1]])
        return slots

    def match(self, key: Key) -> tuple[Node, int]:
        """Match and lock, and compare with what is expected."""
        root, tokens = key
        match = self.tree.match(root, ids(*tokens), self.now)
        assert match.slots.tolist() == self.expected(*key)
        have = gone = len(match.slots)
        while gone < len(tokens) and (root, tokens[: gone + 1]) in self.ghosts:
            gone += 1
        assert match.num_evicted == gone - have if self.is_exact else match.num_evicted <= gone - have
        self.tree.lock(match.node)
        return match.node, have

    def turn(self) -> None:
        """A request comes, finds its prefix, computes the rest, and may become its session's tip, leased or not."""
        key = self.path()
        root, tokens = key
        node, have = self.match(key)
        missing = len(tokens) - have - len(self.free)
        if missing > 0:
            self.forget_slots(evicted(self.tree, missing, root.tenant))
        if len(tokens) - have <= len(self.free):
            slots = [self.free.pop() for _ in range(len(tokens) - have)]
            expires = math.inf if self.rng.random() < 0.5 else self.now + int(self.rng.integers(1, 40))
            end = self.tree.insert(node, ids(*tokens[have:]), ids(*slots), self.now, expires=expires).node
            for at, slot in enumerate(slots, have + 1):
                self.prefixes[root, tokens[:at]] = slot
                self.ghosts.discard((root, tokens[:at]))
            for at in range(1, len(tokens) + 1):
                self.ends[root, tokens[:at]] = max(expires, self.ends.get((root, tokens[:at]), 0.0))
            self.tree.lock(end)
            self.locked.append((end, key))
            if tokens:
                self.end_turn(end, key)
        self.tree.unlock(node)

    def end_turn(self, end: Node, key: Key) -> None:
        session = int(self.rng.integers(SESSIONS))
        self.leased.pop(session, None)
        if self.rng.random() < 0.4:
            self.table.advance(session, end)
            return
        expected = self.now + float(self.rng.integers(1, 30))
        lease = Lease(session, end, key[0], expected + 5, expected, int(self.rng.integers(2)), float(self.rng.random()))
        self.leased[session] = key
        for gone in self.table.lease(lease, self.now):
            del self.leased[int(str(gone.session))]

    def unlock(self) -> None:
        if self.locked:
            self.tree.unlock(self.locked.pop(int(self.rng.integers(len(self.locked))))[0])

    def lock(self) -> None:
        key = self.path()
        node, have = self.match(key)
        self.locked.append((node, (key[0], key[1][:have])))

    def evict(self) -> None:
        tenant = int(self.rng.integers(2))
        if self.rng.random() < 0.3:
            leaf = self.tree.evict_leaf(tenant)
            self.forget_slots([] if leaf is None else unpacked([leaf.slots]).tolist())
        else:
            self.forget_slots(evicted(self.tree, int(self.rng.integers(1, 8)), tenant))

    def session(self) -> int:
        return int(self.rng.integers(SESSIONS))

    def release(self) -> None:
        session = self.session()
        assert (self.table.release(session) is not None) == (session in self.leased)
        self.leased.pop(session, None)

    def renew(self) -> None:
        session = self.session()
        assert self.table.renew(session, self.now + 10, None) == (session in self.leased)

    def expire(self) -> None:
        for lease in self.table.expire(self.now):
            assert lease.expires <= self.now
            del self.leased[int(str(lease.session))]
        assert all(lease.expires > self.now for lease in self.table)

    def fork(self) -> None:
        session, other = self.session(), self.session()
        if session != other and self.table.tip(session) is not None:
            self.leased.pop(other, None)
            self.table.fork(session, other)
            assert self.table.tip(other) is self.table.tip(session)

    def drop(self) -> None:
        session = self.session()
        self.leased.pop(session, None)
        self.table.drop(session)
        assert self.table.tip(session) is None

    def demote(self) -> None:
        lease = self.table.demote(self.now)
        assert (lease is None) == (not self.leased)
        if lease is not None:
            del self.leased[int(str(lease.session))]

    def give_way(self) -> None:
        asked = {session for session in self.leased if self.rng.random() < 0.5}
        tenant, wanted = int(self.rng.integers(2)), int(self.rng.integers(1, 8))
        account = self.tree.shares.accounts.get(tenant)
        if account is None:
            return
        mine = {session for session in asked if self.leased[session][0].tenant == tenant}
        others = [key for _, key in self.locked] + [key for session, key in self.leased.items() if session not in mine]
        free = self.covered([self.leased[session] for session in mine]) - self.covered(others)
        ended = self.table.give_way(account, wanted, self.now, lambda lease: lease.session in asked)
        assert bool(ended) == (len(free) >= wanted)
        for lease in ended:
            del self.leased[int(str(lease.session))]

    def covered(self, keys: list[Key]) -> set[Key]:
        """All prefixes of these, themselves included."""
        return {(root, tokens[:at]) for root, tokens in keys for at in range(1, len(tokens) + 1)}

    def discard(self) -> None:
        node, _ = self.match(self.path())
        self.tree.unlock(node)
        self.forget_slots(self.tree.discard(node, int(self.rng.integers(1, 4))).tolist())

    def forget(self) -> None:
        root, tokens = self.path()
        self.forget_slots(self.tree.forget(root, ids(*tokens), self.now).tolist())

    def lapse(self) -> None:
        held = {(root, tokens[:at]) for root, tokens in self.holding() for at in range(len(tokens) + 1)}
        over = {slot for key, slot in self.prefixes.items() if self.ends[key] <= self.now and key not in held}
        freed = self.tree.expire(self.now).tolist()
        assert set(freed) == over
        self.forget_slots(freed)

    def holding(self) -> list[Key]:
        return [key for _, key in self.locked] + list(self.leased.values())

    def forget_slots(self, slots: list[int]) -> None:
        gone = set(slots)
        assert len(gone) == len(slots)
        self.ghosts |= {key for key, slot in self.prefixes.items() if slot in gone}
        self.prefixes = {key: slot for key, slot in self.prefixes.items() if slot not in gone}
        self.ends = {key: end for key, end in self.ends.items() if key in self.prefixes}
        self.free += sorted(gone)

    def check(self) -> None:
        """Every invariant, and that tree and dict agree."""
        self.tree.check()
        assert sorted(self.tree.slots().tolist()) == sorted(self.prefixes.values())
        assert {lease.session for lease in self.table} == set(self.leased)
        for root, tokens in self.holding():
            assert len(self.expected(root, tokens)) == len(tokens), "a held prefix is gone"
        assert self.tree.num_leased <= self.budget.total_tokens
        for account in self.tree.shares.accounts.values():
            assert account.num_leased <= self.budget.tenant_tokens
        ghosts = self.tree.ghosts.num_tokens
        assert ghosts <= self.ghost_tokens + 12 and (
            not self.is_exact or self.ghost_tokens < 100 or ghosts == len(self.ghosts)
        )


def run(model: Model, operations: int) -> Iterator[Model]:
    """The model after each of so many operations."""
    for _ in range(operations):
        model.step()
        yield model
