"""How long tools take, learnt from when their results come back: quantiles for each tenant's tools.

Times go into buckets that each are a quarter wider than the one before; older times count less, so that a tool that
changed its ways is known soon. What is held is bounded: who has the most tools forgets the one used least recently.
What was learnt is handed out to be stored, under digests: no name of a tool outlives the sessions that it stood in.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from espalier.sessions.value import digest

SHORTEST_S, GROWTH, NUM_BUCKETS = 0.01, 1.25, 72  # up to a day
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
"""The quantiles that are told."""
DECAY = 0.98
"""What an earlier time still counts when another is learnt: the last fifty matter."""
MAX_TOOLS = 10_000


class Learnt(NamedTuple):
    """What was learnt of a tenant's tool: digests of the tenant and of both names, and the weights of its buckets."""

    tenant: bytes
    tool: bytes
    weights: tuple[float, ...]


class _Times:
    """A decaying histogram."""

    def __init__(self, weights: Sequence[float] = (0.0,) * NUM_BUCKETS) -> None:
        self.weights = list(weights)

    def add(self, wait_s: float) -> None:
        self.weights = [weight * DECAY for weight in self.weights]
        self.weights[_bucket(wait_s)] += 1.0

    def quantile(self, level: float) -> float:
        """The upper end of the bucket in which that part of the times lies."""
        wanted, seen = level * sum(self.weights), 0.0
        for number, weight in enumerate(self.weights):
            seen += weight
            if weight and seen >= wanted - 1e-9:
                return SHORTEST_S * GROWTH**number
        return SHORTEST_S * GROWTH ** (NUM_BUCKETS - 1)


class Waits:
    """What was learnt. Tools are known by tenant and name: two tenants' tools of one name have nothing in common.

    `learnt` is what was handed out before, the tools used least recently first; that of other buckets is left out.
    """

    def __init__(self, max_tools: int = MAX_TOOLS, learnt: Iterable[Learnt] = ()) -> None:
        self._tenants: OrderedDict[bytes, OrderedDict[bytes, _Times]] = OrderedDict()
        self._num_tools, self._max_tools = 0, max_tools
        self._changed: dict[bytes, bytes] = {}  # whose they are, by tool
        for tenant, tool, weights in learnt:
            if len(weights) == NUM_BUCKETS:
                self._times(tenant, tool).weights = list(weights)
        self._keep_limit()

    def observe(self, tenant: str, tools: Iterable[str], wait_s: float) -> None:
        """Learn that the results of calls to these tools, made together, came after `wait_s` seconds."""
        whose = _tenant_key(tenant)
        for key in {_key(tenant, tool) for tool in tools}:
            self._times(whose, key).add(wait_s)
            self._changed[key] = whose
        self._keep_limit()

    def quantiles(self, tenant: str, tools: Iterable[str], levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
        """Seconds until the results of all these tools are there, at each level; () where one is not known yet.

        They are waited for together, so it is the slowest that counts.
        """
        times_of = self._tenants.get(_tenant_key(tenant), OrderedDict[bytes, _Times]())
        known = [times_of.get(_key(tenant, tool)) for tool in tools]
        if not known or None in known:
            return ()
        return tuple(max(times.quantile(level) for times in known if times is not None) for level in levels)

    def changes(self, limit: int | None = None) -> tuple[Learnt, ...]:
        """What was learnt and is not stored, of at most so many tools, those that wait longest first."""
        waiting = islice(self._changed.items(), limit)
        return tuple(Learnt(whose, tool, self._told(whose, tool)) for tool, whose in waiting)

    def settle(self, stored: Iterable[Learnt]) -> None:
        """These changes have been stored; of what was learnt of the same tools meanwhile, the turn comes again."""
        for one in stored:
            if self._changed.pop(one.tool, None) and self._told(one.tenant, one.tool) != one.weights:
                self._changed[one.tool] = one.tenant

    def _told(self, tenant: bytes, tool: bytes) -> tuple[float, ...]:
        return tuple(self._tenants[tenant][tool].weights)

    def _times(self, tenant: bytes, tool: bytes) -> _Times:
        """What is known of a tool that is used now; its tenant and itself are the last to go."""
        tools = self._tenants.setdefault(tenant, OrderedDict())
        self._tenants.move_to_end(tenant)
        if tool not in tools:
            tools[tool] = _Times()
            self._num_tools += 1
        tools.move_to_end(tool)
        return tools[tool]

    def _keep_limit(self) -> None:
        while self._num_tools > self._max_tools:
            tools = max(self._tenants.values(), key=len)
            tool, _ = tools.popitem(last=False)
            self._changed.pop(tool, None)
            self._num_tools -= 1
            if not tools:  # then nobody has more than one, and the first was taken from
                self._tenants.popitem(last=False)


def _tenant_key(tenant: str) -> bytes:
    return digest(tenant.encode(errors="surrogatepass"))


def _key(tenant: str, tool: str) -> bytes:
    return digest(f"{tenant}\0{tool}".encode(errors="surrogatepass"))


def _bucket(wait_s: float) -> int:
    if not wait_s > SHORTEST_S:
        return 0
    return math.ceil(min(NUM_BUCKETS - 1, math.log(wait_s / SHORTEST_S, GROWTH)))
