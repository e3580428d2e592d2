"""The tips of sessions in the engine: what is leased while tools run, for how long, and what room costs. No torch.

`sessions` learns how long tools take, `radix` decides what is cheapest; this supplies what computing again costs, and
what a slot is worth to others, as measured. Time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from espalier.engine.messages import Hold
from espalier.radix import Decision, Lease, LeaseBudget, LeaseTable, Node, PrefixTree, RecomputeCost, Rent, Stake
from espalier.radix import decide as decide_by_cost
from espalier.radix.decision import UNKNOWN_S, Wait, spread

GRACE_S = 2.0
"""A tip is held so long after its turn: time for the gateway to say that a tool runs."""
OVERDUE = 1.5
"""A tip that is kept is kept for so many times the longest wait that was worth it."""
WINDOW_S = 30.0
"""Time over which the price of room is averaged."""


@dataclass(slots=True)
class TipTotals:
    """Running totals: leases taken, given up for the budget or for a request, and decisions against keeping."""

    leased: int = 0
    demoted: int = 0
    declined: int = 0


class Tips:
    """Sessions of one tree. `cost` is replaced as the engine measures its prefill rate; `load_s` tells what bringing up
    a number of tokens takes, where there is a lower tier.
    """

    def __init__(
        self,
        tree: PrefixTree,
        budget: LeaseBudget,
        num_slots: int,
        cost: RecomputeCost,
        load_s: Callable[[int], float] | None = None,
    ) -> None:
        self.load_s = load_s
        self.cost = cost
        self.totals = TipTotals()
        self._tree, self._budget, self._num_slots = tree, budget, num_slots
        self._leases = LeaseTable(tree, budget)
        self._lost_s_per_s = 0.0
        self._measured_at = -math.inf

    @property
    def num_leases(self) -> int:
        """Leases held now."""
        return len(self._leases)

    def arrive(self, session: str) -> None:
        """The session's next turn has come: while it waits, its lease does not end."""
        if session:
            self._leases.renew(session, math.inf, None)

    def leave(self, session: str, now: float) -> None:
        """The turn is gone without an end; its session keeps what it had for a grace time."""
        if session:
            self._leases.renew(session, now + GRACE_S, now)

    def finish(self, session: str, node: Node, now: float, *, is_group: bool = False) -> None:
        """A turn ended at `node`: the session's new tip. Of a group, what lies beside it is not left."""
        if not session:
            return
        turns = self._turns(session) + 1
        if is_group:
            self._leases.part(session)
        self._lease(self._wish(session, node, now + GRACE_S, expected=now, turns=turns), now)

    def hold(self, note: Hold, now: float) -> Decision | None:
        """A tool runs. Returns what was decided; None if nothing of the session is in the tree.

        Raises ValueError if its waits are no rising quantiles.
        """
        node = self._leases.tip(note.session)
        if node is None:
            return None
        waits = spread(note.waits_s or UNKNOWN_S)
        stake = Stake(node.end, self.cost.seconds(0, node.end))
        if self.load_s is not None:
            # What a turn ends with is copied down anyway: giving it up costs nothing more.
            stake = replace(stake, store_s=0.0, load_s=self.load_s(node.end))
        decision = decide_by_cost(waits, stake, self.rent(now))
        hold_s = decision.hold_s * OVERDUE + GRACE_S if decision.choice == "keep" else 0.0
        hold_s = min(note.ttl_s, max(hold_s, note.at_least_s))
        if hold_s > 0:
            expected, turns = now + _median(waits), self._turns(note.session)
            lease = self._wish(note.session, node, now + hold_s, expected=expected, turns=turns)
            self._lease(replace(lease, priority=note.priority, wanted=now + note.at_least_s), now)
        else:
            self.totals.declined += 1
            self._leases.release(note.session)
        return decision

    def release(self, session: str) -> None:
        """End a session's lease."""
        self._leases.release(session)

    def fork(self, session: str, other: str) -> None:
        """Give another session the same tip."""
        self._leases.fork(session, other)

    def drop(self, session: str) -> None:
        """The session ends: what only it used goes first."""
        self._leases.drop(session)

    def expire(self, now: float) -> None:
        """End what is over."""
        self._leases.expire(now)

    def make_room(self, now: float) -> bool:
        """Give up the least valuable lease for a request that can't run otherwise; false if there is none."""
        lease = self._leases.demote(now)
        self.totals.demoted += lease is not None
        return lease is not None

    def holds(self, session: str, node: Node) -> bool:
        """Whether the session has a lease of all or the beginning of the path to `node`."""
        lease = self._leases.of(session) if session else None
        return lease is not None and any(above is lease.node for above in node.path())

    def aside(self, tenant: str, now: float) -> int:
        """Tokens that the tenant's leases gave up for want of room, and that are left to those who grow."""
        return self._leases.aside.of(tenant, now)

    @property
    def has_aside(self) -> bool:
        """Whether any tenant's leases gave up tokens that nobody has taken yet."""
        return bool(self._leases.aside)

    def grow(self, tenant: str, num_tokens: int) -> None:
        """Slots were taken for so many tokens that nobody had before."""
        self._leases.aside.take(tenant, num_tokens)

    def make_way_for_return(self, tenant: str, num_tokens: int, now: float) -> bool:
        """Sessions of the tenant that have had their stint make way for the return of another; false if too few can."""
        return self._give_way(tenant, num_tokens, now, lambda lease: lease.has_had_its_stint(now)) > 0

    def make_way_for_growth(self, session: str, tenant: str, num_tokens: int, now: float) -> bool:
        """Sessions of the tenant make way for one that holds its place and grows; false if too few can."""
        freed = self._give_way(tenant, num_tokens, now, lambda lease: lease.session != session and lease.is_idle(now))
        self._leases.aside.add(tenant, freed, now)
        return freed > 0

    def _give_way(self, tenant: str, num_tokens: int, now: float, is_asked: Callable[[Lease], bool]) -> int:
        """How many tokens those asked free; 0 where it would be too few."""
        account = self._tree.shares.accounts.get(tenant)
        if account is None:
            return 0
        before = account.num_evictable
        self.totals.demoted += len(self._leases.give_way(account, num_tokens, now, is_asked))
        return account.num_evictable - before

    def miss(self, num_evicted: int, begin: int, now: float) -> None:
        """A request wants `num_evicted` tokens again from `begin` on that were given up: room was too dear by that."""
        self._lose(self.cost.seconds(begin, begin + num_evicted), now)

    def block(self, waited_s: float, now: float) -> None:
        """Somebody has waited for room for so many seconds more; that others wait too makes room no dearer."""
        self._lose(waited_s, now)

    def rent(self, now: float) -> Rent:
        """What a slot costs for a second: what was computed again or waited for want of room, over all slots."""
        passed_s = max(0.0, now - self._measured_at)
        return Rent(self._lost_s_per_s * math.exp(-passed_s / WINDOW_S) / self._num_slots)

    def _lose(self, lost_s: float, now: float) -> None:
        passed_s = max(0.0, now - self._measured_at)
        self._lost_s_per_s = self._lost_s_per_s * math.exp(-passed_s / WINDOW_S) + lost_s / WINDOW_S
        self._measured_at = now

    def _turns(self, session: str) -> int:
        lease = self._leases.of(session)
        return 0 if lease is None else lease.turns

    def _wish(self, session: str, node: Node, expires: float, *, expected: float, turns: int) -> Lease:
        worth_s = self.cost.seconds(0, node.end)
        return Lease(session, node, node.root(), expires, expected, worth_s=worth_s, turns=turns)

    def _lease(self, lease: Lease, now: float) -> None:
        self.totals.leased += 1
        self.totals.demoted += len(self._leases.lease(lease, now))


def _median(waits: Sequence[Wait]) -> float:
    left = 0.5
    for wait in waits:
        left -= wait.chance
        if left <= 0:
            return wait.seconds
    return waits[-1].seconds
