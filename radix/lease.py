"""Leases: what keeps a session's state while a tool runs. Each session has one tip, and only the newest is protected.

All leases together, and those of each tenant, stay within a budget of bytes, at every moment: what is too much is
demoted, the least valuable lease first, and handed to the caller, who may move it to a lower tier. Time is an argument.

Where sessions want more than there is, each runs a stint of turns before it has to make way for another one's return.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakValueDictionary

from espalier.radix.account import Account
from espalier.radix.aside import Aside
from espalier.radix.node import Node, Root
from espalier.radix.tree import PrefixTree

_SOON_S = 0.05
"""Two sessions that are both expected within this are expected at the same time."""
STINT = 16
"""Turns that a session runs on what it holds before it makes way: computing that again is then a small part of them."""


@dataclass(frozen=True, slots=True)
class LeaseBudget:
    """Bytes that leases may hold, in all and for each tenant; `bytes_per_token` of attention state."""

    total_bytes: int
    tenant_bytes: int
    bytes_per_token: int = 1

    @property
    def total_tokens(self) -> int:
        """Whole tokens within the budget in all."""
        return self.total_bytes // self.bytes_per_token

    @property
    def tenant_tokens(self) -> int:
        """Whole tokens within a tenant's budget."""
        return self.tenant_bytes // self.bytes_per_token


@dataclass(frozen=True, slots=True)
class Lease:
    """A session's hold on the path to `node`, until `expires`. Higher priorities go later, whatever their value.

    `worth_s` is what computing the path again would take, `expected` when the session is likely back; None: it is, and
    waits for its turn to run. `turns` have ended on it since the session came in. A client wants it until `wanted`.
    """

    session: Hashable
    node: Node
    root: Root
    expires: float
    expected: float | None
    priority: int = 0
    worth_s: float = 0.0
    turns: int = 0
    wanted: float = -math.inf

    @property
    def num_tokens(self) -> int:
        """Length of the path that it protects."""
        return self.node.end

    def is_idle(self, now: float) -> bool:
        """Whether it may be asked to make way at all; not while the session's turn waits or runs."""
        return self.expected is not None and self.priority <= 0 and self.wanted <= now

    def has_had_its_stint(self, now: float) -> bool:
        """Whether it may be asked to make way for the return of another session."""
        return self.turns >= STINT and self.is_idle(now)

    def rank(self, now: float) -> tuple[int, bool, float]:
        """The order in which leases are demoted, the lowest first."""
        return self.priority, not self.has_had_its_stint(now), self.value(now)

    def value(self, now: float) -> float:
        """Seconds saved for each token and second that it is still to be held.

        Who is overdue is expected after as long again, as waiting times with long tails have it.
        """
        left_s = 0.0 if self.expected is None else abs(self.expected - now)
        return self.worth_s / (max(1, self.num_tokens) * max(_SOON_S, left_s))


class LeaseTable:
    """Tips and leases of all sessions over one tree. Keys of sessions are opaque, and unique over all tenants.

    `aside` is what leases gave up for want of room, and what is left to those who grow.
    """

    def __init__(self, tree: PrefixTree, budget: LeaseBudget) -> None:
        self.budget = budget
        self.aside = Aside()
        self._tree = tree
        self._leases: dict[Hashable, Lease] = {}
        self._tips: WeakValueDictionary[Hashable, Node] = WeakValueDictionary()
        self._expiries: list[tuple[float, int, Hashable]] = []
        self._ticket = count()

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._leases.values()))

    def of(self, session: Hashable) -> Lease | None:
        """The session's lease, if it has one."""
        return self._leases.get(session)

    def tip(self, session: Hashable) -> Node | None:
        """Where the session's newest turn ends, if any of it is in the tree."""
        node = self._tips.get(session)
        return node if node is not None and node.parent is not None and len(node.slots) else None

    def advance(self, session: Hashable, node: Node) -> None:
        """A turn ended at `node`: it is the session's tip, and unprotected. What the session left goes first."""
        self.release(session)
        self._leave(session, set(node.path()))
        self._tips[session] = node
        node.tips += 1

    def fork(self, session: Hashable, other: Hashable) -> None:
        """Give another session the same tip; it has no lease yet."""
        node = self.tip(session)
        if node is not None:
            self.advance(other, node)

    def lease(self, lease: Lease, now: float) -> tuple[Lease, ...]:
        """Protect a session's tip, superseding what it had; returns what was demoted for it, perhaps itself."""
        self.advance(lease.session, lease.node)
        if lease.expires <= now or not self.budget.total_bytes:
            return ()
        self._leases[lease.session] = lease
        self._tree.add_lease(lease.node)
        self._note_expiry(lease)
        return self._keep_budget(lease, now)

    def renew(self, session: Hashable, expires: float, expected: float | None) -> bool:
        """Set when a lease ends and when the session is expected; whether it has a lease."""
        lease = self._leases.get(session)
        if lease is None:
            return False
        self._leases[session] = replace(lease, expires=expires, expected=expected)
        self._note_expiry(self._leases[session])
        return True

    def release(self, session: Hashable) -> Lease | None:
        """End a lease; its tokens stay, as long as nobody needs the room. Returns it, None if there was none."""
        lease = self._leases.pop(session, None)
        if lease is not None:
            self._tree.remove_lease(lease.node)
        return lease

    def part(self, session: Hashable) -> None:
        """End a session's lease and take its tip away; what it used goes no sooner than what others did."""
        self.release(session)
        if (tip := self._tips.pop(session, None)) is not None:
            tip.tips -= 1

    def drop(self, session: Hashable) -> None:
        """The session will not go on: what only it used goes first."""
        self.release(session)
        self._leave(session, set())

    def expire(self, now: float) -> tuple[Lease, ...]:
        """End the leases that are over; returns them."""
        ended: list[Lease] = []
        while self._expiries and self._expiries[0][0] <= now:
            _, _, session = heapq.heappop(self._expiries)
            lease = self._leases.get(session)
            if lease is not None and lease.expires <= now:
                self.release(session)
                ended.append(lease)
        return tuple(ended)

    def demote(self, now: float) -> Lease | None:
        """End the least valuable lease, because a request can't run otherwise; None if there is none."""
        least = min(self._leases.values(), key=lambda lease: lease.rank(now), default=None)
        if least is not None:
            self.aside.add(least.node.account.tenant, self._end(least), now)
        return least

    def give_way(
        self, account: Account, num_tokens: int, now: float, is_asked: Callable[[Lease], bool]
    ) -> tuple[Lease, ...]:
        """End leases of a tenant among those asked, until so many tokens are free; none if too few would be."""
        asked = [lease for lease in self._leases.values() if lease.node.account is account and is_asked(lease)]
        if not asked or self._tree.freed_without([lease.node for lease in asked]) < num_tokens:
            return ()
        ended: list[Lease] = []
        wanted = account.num_evictable + num_tokens
        for lease in sorted(asked, key=lambda lease: lease.rank(now)):
            if account.num_evictable >= wanted:
                break
            self.release(lease.session)
            ended.append(lease)
        return tuple(ended)

    def _keep_budget(self, lease: Lease, now: float) -> tuple[Lease, ...]:
        demoted: list[Lease] = []
        account, tree = lease.node.account, self._tree
        while account.num_leased > self.budget.tenant_tokens:
            demoted.append(self._demote(lease, now, lambda one: one.node.account is account))
        while tree.num_leased > self.budget.total_tokens:
            # A tenant's share of the budget is safe from the leases of others.
            tenants = {one.node.account for one in self._leases.values()}
            share = self.budget.total_tokens // len(tenants)
            demoted.append(self._demote(lease, now, lambda one: one.node.account.num_leased > share))  # noqa: B023
        return tuple(demoted)

    def _demote(self, taken: Lease, now: float, is_candidate: Callable[[Lease], bool]) -> Lease:
        """End the least valuable candidate for a lease that is taken."""
        least = min(filter(is_candidate, self._leases.values()), key=lambda lease: lease.rank(now), default=None)
        assert least is not None, "tokens are leased, but there is no lease"
        room = self._tree.num_room
        freed = self._end(least)
        if room is not None and room < freed and least is not taken:
            self.aside.add(least.node.account.tenant, freed, now)
        return least

    def _end(self, lease: Lease) -> int:
        """End a lease; returns how many tokens that frees."""
        before = lease.node.account.num_evictable
        self.release(lease.session)
        return lease.node.account.num_evictable - before

    def _note_expiry(self, lease: Lease) -> None:
        if lease.expires < math.inf:
            heapq.heappush(self._expiries, (lease.expires, next(self._ticket), lease.session))

    def _leave(self, session: Hashable, onward: set[Node]) -> None:
        """Take the session's tip away, and abandon the nodes that only it used and that aren't on its way onward."""
        tip = self._tips.pop(session, None)
        if tip is None:
            return
        tip.tips -= 1
        for node in tip.path():
            is_used = any(len(child.slots) and not child.is_abandoned for child in node.children.values())
            if node in onward or node.parent is None or node.tips or node.leases or node.locks or is_used:
                return
            self._tree.abandon(node)
