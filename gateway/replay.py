"""Answers of requests that have a key and no session: kept in memory for a while, so that the same request is a replay.

Bounded in number; the oldest go first. A running one is a live turn; here it is found by its key also when it has
ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from espalier.gateway.live_turn import LiveTurn
from espalier.sessions import Idempotency
from espalier.sessions.errors import IdempotencyConflictError

R = TypeVar("R")
MAX_REPLAYS = 512


@dataclass(frozen=True, slots=True)
class Replay(Generic[R]):
    """A request by its key: what makes its answer, and the log that its clients read."""

    body_digest: bytes
    run: R
    live: LiveTurn
    until: float


class Replays(Generic[R]):
    """Those of all tenants. `clock` counts seconds; each is kept for `keep_s` after it began, and while it runs."""

    def __init__(self, keep_s: float, clock: Callable[[], float], max_replays: int = MAX_REPLAYS) -> None:
        self._keep_s, self._clock, self._max_replays = keep_s, clock, max_replays
        self._known: OrderedDict[tuple[str, str], Replay[R]] = OrderedDict()

    def find(self, tenant: str, idempotency: Idempotency) -> Replay[R] | None:
        """What the key has begun, unless that failed or is too long ago. Raises IdempotencyConflictError."""
        self._drop()
        known = self._known.get((tenant, idempotency.key))
        if known is None or known.live.has_failed:
            return None
        if known.body_digest != idempotency.body_digest:
            raise IdempotencyConflictError
        return known

    def add(self, tenant: str, idempotency: Idempotency, run: R, live: LiveTurn) -> Replay[R]:
        """Remember a request that begins."""
        added = Replay(idempotency.body_digest, run, live, self._clock() + self._keep_s)
        self._known[tenant, idempotency.key] = added
        self._known.move_to_end((tenant, idempotency.key))
        self._drop()
        return added

    def _drop(self) -> None:
        now = self._clock()
        ended = [key for key, one in self._known.items() if one.live.has_ended and one.until <= now]
        surplus = len(self._known) - len(ended) - self._max_replays
        ended += [key for key, one in self._known.items() if one.live.has_ended and key not in ended][: max(0, surplus)]
        for key in ended:
            del self._known[key]
