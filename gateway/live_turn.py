"""Turns that run: each is a task that writes an event log, and outlives its clients as its policy says.

    attached     cancelled as soon as the last client leaves
    kept         cancelled when no client came back within the grace time
    background   runs to its end

Knows neither the API that shows a turn nor where it is stored: the producer does. A turn is here until its producer has
ended, which is when its KV slots are free and what there is to store is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, TypeVar

from espalier.engine.errors import EngineError
from espalier.gateway.errors import ApiError
from espalier.gateway.event_log import EventLog
from espalier.gateway.log import Log

T = TypeVar("T")
Policy = Literal["attached", "kept", "background"]
Producer = Callable[[EventLog], Coroutine[Any, Any, None]]
GRACE_S = 60.0
_LOG = Log("live_turn")


class Timer(Protocol):
    """Something that will happen, unless it is cancelled before."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


Later = Callable[[float, Callable[[], None]], Timer]


class LiveTurn:
    """One running turn. `later` sets timers; by default those of the event loop. `maker` is its producer's own."""

    def __init__(
        self,
        tenant: str,
        turn_id: str,
        producer: Producer,
        policy: Policy,
        *,
        grace_s: float = GRACE_S,
        later: Later | None = None,
        on_end: Callable[[LiveTurn], None] | None = None,
        maker: object = None,
    ) -> None:
        self.tenant, self.turn_id, self.policy, self.maker = tenant, turn_id, policy, maker
        self.log = EventLog()
        self._grace_s = grace_s
        self._later: Later = later or asyncio.get_running_loop().call_later
        self._on_end = on_end
        self._num_clients = 0
        self._timer: Timer | None = None
        self._started = asyncio.Event()
        self._is_cancelled = False
        self._task = asyncio.create_task(self._run(producer), name=f"turn {turn_id}")
        self._task.add_done_callback(self._end)

    @property
    def has_client(self) -> bool:
        """Whether anybody reads it."""
        return self._num_clients > 0

    @property
    def is_left(self) -> bool:
        """Whether nobody reads it, and it was not asked for to be read later: who needs its place may end it."""
        return not self.has_client and self.policy != "background"

    @property
    def has_ended(self) -> bool:
        """Whether its producer has ended, whichever way."""
        return self._task.done()

    @property
    def was_cancelled(self) -> bool:
        """Whether it was ended before its producer was done."""
        return self._task.cancelled()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended without an answer."""
        return self._task.done() and (self._task.cancelled() or self._task.exception() is not None)

    @asynccontextmanager
    async def attached(self) -> AsyncGenerator[EventLog, None]:
        """Read its log as one of its clients. Leaving may end it, as the policy says; it has ended then."""
        self._num_clients += 1
        self._stop_timer()
        try:
            yield self.log
        finally:
            self._num_clients -= 1
            if not self._num_clients and not self._task.done():
                await self._left()

    async def begun(self) -> None:
        """Return with its first event. Raises what ended it before there was one."""
        await self.log.begun()
        if not self.log.next:
            await self.ended()
            if self.was_cancelled:
                raise ended_early()

    async def ended(self) -> None:
        """Return once it has ended. Raises what its producer raised; a turn that was cancelled is no error."""
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def cancel(self) -> None:
        """End it, and return once its producer has ended: its KV slots are free."""
        self._stop_timer()
        await self._started.wait()  # a task that is cancelled before its first step never tidies up
        self._cancel_once()
        await asyncio.wait({self._task})

    async def _left(self) -> None:
        if self.policy == "attached":
            await self.cancel()
        elif self.policy == "kept":
            self._timer = self._later(self._grace_s, self._expire)

    def _expire(self) -> None:
        _LOG.info("turn_abandoned", turn_id=self.turn_id)
        self._cancel_once()

    def _cancel_once(self) -> None:
        """A second cancellation would disturb the producer while it tidies up after the first."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()

    async def _run(self, producer: Producer) -> None:
        self._started.set()
        await producer(self.log)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, task: asyncio.Task[None]) -> None:
        self.log.close()
        self._started.set()
        self._stop_timer()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Logged here, because nobody may be left to see it raised.
            if isinstance(error, ApiError | EngineError):
                _LOG.warning("turn_failed", turn_id=self.turn_id, code=error.code)
            else:
                _LOG.error("turn_failed", turn_id=self.turn_id, error=error)
        if self._on_end is not None:
            self._on_end(self)


async def unhurried(storing: asyncio.Future[T]) -> T:
    """Wait for what a turn has begun to store, whoever wants the turn to end meanwhile."""
    try:
        return await asyncio.shield(storing)
    except asyncio.CancelledError:
        return await storing


def ended_early() -> ApiError:
    """For who still reads an answer that others ended: its session was deleted, or nobody seemed to read it."""
    message = "the turn was ended before its answer was whole, as when its session is deleted; nothing of it is kept"
    return ApiError(409, message, code="turn_ended", headers={"x-should-retry": "false"})


class LiveTurns:
    """The running turns of all tenants, by id. A tenant finds its own only."""

    def __init__(self, *, grace_s: float = GRACE_S, later: Later | None = None) -> None:
        self._grace_s, self._later = grace_s, later
        self._turns: dict[tuple[str, str], LiveTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def start(self, tenant: str, turn_id: str, producer: Producer, policy: Policy, *, maker: object = None) -> LiveTurn:
        """Run a turn. An id is used once."""
        assert (tenant, turn_id) not in self._turns
        turn = LiveTurn(
            tenant,
            turn_id,
            producer,
            policy,
            grace_s=self._grace_s,
            later=self._later,
            on_end=self._forget,
            maker=maker,
        )
        self._turns[tenant, turn_id] = turn
        return turn

    def get(self, tenant: str, turn_id: str) -> LiveTurn | None:
        """A running turn of this tenant."""
        return self._turns.get((tenant, turn_id))

    async def make_way(self, tenant: str, turn_id: str | None) -> bool:
        """End a turn that nobody reads any more, for what is to come in its place. Whether the place is free."""
        turn = None if turn_id is None else self.get(tenant, turn_id)
        if turn is None:  # it may have ended since it was seen
            return True
        if not turn.is_left:
            return False
        await turn.cancel()
        return True

    async def close(self) -> None:
        """End all of them."""
        while self._turns:
            await asyncio.gather(*(turn.cancel() for turn in self._turns.values()))

    def _forget(self, turn: LiveTurn) -> None:
        self._turns.pop((turn.tenant, turn.turn_id), None)
