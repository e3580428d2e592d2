"""All sessions of a server, as its routes use them. What is awaited here is on disk when it returns.

A tenant reaches only what is its own; anything else raises the same NotFoundError, whether it exists or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TypeVar

from espalier.sessions import archive, deletion, operation
from espalier.sessions.call import calls_of, results_of
from espalier.sessions.errors import SessionError
from espalier.sessions.operation import Begun, Branch
from espalier.sessions.removal import Removed
from espalier.sessions.session import Kind, Session
from espalier.sessions.store import Store
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.turn import Completion, Draft, Record, Turn
from espalier.sessions.value import JsonObject, JsonValue
from espalier.sessions.view import View
from espalier.sessions.wait import MAX_TOOLS, Learnt, Waits

T = TypeVar("T")
Metadata = Mapping[str, JsonValue]
SWEEP_LIMIT = 100
"""Most sessions that one sweep deletes, so that it doesn't hold up turns."""
LEARN_LIMIT = 100
"""Most tools of which is stored at once what was learnt, for the same reason."""


class Sessions(View):
    """Made by `open`. Times are seconds since the epoch, by `clock`."""

    def __init__(
        self, store: Store, clock: Callable[[], float], ttl_s: float | None, learnt: Sequence[Learnt] = ()
    ) -> None:
        super().__init__(store, clock)
        self._ttl_s, self._waits = ttl_s, Waits(learnt=learnt)

    @classmethod
    async def open(
        cls, folder: FilePath, *, clock: Callable[[], float] = time.time, ttl_s: float | None = None
    ) -> Sessions:
        """Open the sessions in a folder; turns that ran when the last process ended are interrupted now.

        Sessions without use for `ttl_s` expire, where they are not made with another time. Raises StoreError.
        """
        store = await asyncio.to_thread(Store.open, folder)
        return await cls.over(store, clock=clock, ttl_s=ttl_s)

    @classmethod
    async def over(
        cls, store: Store, *, clock: Callable[[], float] = time.time, ttl_s: float | None = None
    ) -> Sessions:
        """The sessions of a store that has been opened just now."""
        await store.commit(lambda tx: operation.interrupt_all(tx, clock()))
        learnt: list[Learnt] = []
        with contextlib.suppress(SessionError):  # it can be learnt again
            learnt = await store.read(lambda reader: reader.waits())
        return cls(store, clock, ttl_s, learnt)

    async def close(self) -> None:
        """Finish what was asked for, store what was learnt, and let go of the folder."""
        with contextlib.suppress(SessionError):
            await self.store_waits(None)
        await asyncio.to_thread(self._store.close)

    @property
    def failure(self) -> str | None:
        """Why nothing can be stored any more; None while all is well."""
        return self._store.failure

    async def create(
        self,
        tenant: str,
        *,
        kind: Kind = "session",
        name: str | None = None,
        metadata: Metadata | None = None,
        ttl_s: float | None = None,
    ) -> Session:
        """Make a session. Raises NameTakenError."""
        ttl_s = self._ttl_s if ttl_s is None else ttl_s
        return await self._commit(
            lambda tx, now: operation.create(tx, tenant, kind, name, dict(metadata or {}), ttl_s, now)
        )

    async def named(self, tenant: str, name: str) -> Session:
        """The session that the tenant calls so, made when it is first used."""
        known = await self._store.read(lambda reader: reader.named(tenant, name))
        if known is not None and not known.is_expired(self._clock()):
            return known
        return await self._commit(lambda tx, now: operation.named(tx, tenant, name, self._ttl_s, now))

    async def update(
        self,
        tenant: str,
        session_id: str,
        *,
        metadata: Metadata | None = None,
        ttl_s: float | None = None,
    ) -> Session:
        """Replace what is given."""
        told = None if metadata is None else dict(metadata)
        return await self._commit(lambda tx, now: operation.update(tx, tenant, session_id, told, ttl_s, now))

    async def delete(self, tenant: str, session_id: str) -> Removed:
        """Delete a session; none of its text is left on disk when this returns. Raises NotFoundError."""
        return await self._commit(lambda tx, now: deletion.delete(tx, tenant, session_id), scrubs=True)

    async def fork(self, tenant: str, session_id: str, *, at: str | None = None, name: str | None = None) -> Session:
        """A new session that goes on where this one stands, or at one of its turns (by turn or response id).

        Raises NotFoundError, NameTakenError.
        """
        return await self._commit(lambda tx, now: operation.fork(tx, tenant, session_id, at, name, now))

    async def rollback(self, tenant: str, session_id: str, *, to: str | None) -> Session:
        """Go back to a turn (or to another branch's); None: to the beginning. Raises NotFoundError, BusyError."""
        return await self._commit(lambda tx, now: operation.rollback(tx, tenant, session_id, to, now))

    async def begin(
        self,
        tenant: str,
        session_id: str,
        draft: Draft,
        *,
        if_match: str | None = None,
        branch: Branch = "rollback",
    ) -> Begun:
        """Open a turn. One whose caller is cancelled meanwhile is interrupted.

        Where the draft does not follow the head, `branch` says what happens: the head is moved there, or another
        session is forked there (then a running turn is in nobody's way, either). `if_match` is the turn that the head
        has to be. Raises BusyError, TurnMismatchError, IdempotencyConflictError, NotFoundError.
        """
        opening = asyncio.ensure_future(
            self._commit(lambda tx, now: operation.begin(tx, tenant, session_id, draft, if_match, branch, now))
        )
        try:
            begun = await asyncio.shield(opening)
        except asyncio.CancelledError:
            await self._abandon(tenant, opening)
            raise
        self._learn(begun)
        return begun

    async def complete(self, tenant: str, turn_id: str, completion: Completion) -> Turn:
        """End a running turn with its answer: acknowledged when this returns. Raises TurnEndedError, NotFoundError."""
        return await self._commit(lambda tx, now: operation.complete(tx, tenant, turn_id, completion, now))

    async def interrupt(
        self, tenant: str, turn_id: str, *, response: bytes = b"", events: tuple[bytes, ...] = ()
    ) -> Turn:
        """Give a running turn up: the session is as before it. A turn that has ended stays as it is.

        `response` and `events` are what `record` gives of it from now on.
        """
        return await self._commit(lambda tx, now: operation.interrupt(tx, tenant, turn_id, now, response, events))

    def waits_of(self, turn: Turn) -> tuple[float, ...] | None:
        """Quantiles, at `wait.LEVELS`, of the seconds until a turn's calls are answered; () where they aren't known.

        None for a turn that waits for no results.
        """
        names = [call.name for call in calls_of(turn.answer)]
        return self.waits_for(turn.tenant, names) if names else None

    def waits_for(self, tenant: str, tools: Sequence[str]) -> tuple[float, ...]:
        """The same of tools that were called together."""
        return self._waits.quantiles(tenant, tools)

    async def append(
        self,
        tenant: str,
        session_id: str,
        messages: tuple[JsonObject, ...],
        *,
        request: bytes = b"",
        response_id: str | None = None,
    ) -> Turn:
        """Add messages to which no answer is wanted. Raises BusyError, NotFoundError."""
        draft = Draft(None, None, messages, request=request, response_id=response_id)
        return await self._commit(lambda tx, now: operation.append(tx, tenant, session_id, draft, now))

    async def edit(
        self,
        tenant: str,
        ref: str,
        *,
        messages: tuple[JsonObject, ...],
        answer: JsonObject | None,
        record: Record,
    ) -> Removed:
        """Replace what a turn says; nothing of what it said before is left on disk when this returns.

        The tokens of the turn and of all that continue it are forgotten: the next turn is rendered from text.
        """
        return await self._commit(
            lambda tx, now: deletion.edit(tx, tenant, ref, messages, answer, record, now), scrubs=True
        )

    async def delete_turn(self, tenant: str, ref: str) -> Removed:
        """Delete a turn. Where others continue it it is found no more, and its text goes with the last of them."""
        return await self._commit(lambda tx, now: deletion.delete_turn(tx, tenant, ref, now), scrubs=True)

    async def sweep(self) -> Removed:
        """Delete sessions that have expired, a limited number at a time."""
        now = self._clock()
        if not await self._store.read(lambda reader: reader.expired(now)):
            return Removed()
        return await self._commit(lambda tx, now: deletion.sweep(tx, now, SWEEP_LIMIT), scrubs=True)

    async def store_waits(self, limit: int | None = LEARN_LIMIT) -> None:
        """Store what was learnt of tools since the last time, of a limited number of them; all with None."""
        if changes := self._waits.changes(limit):
            await self._commit(lambda tx, now: tx.put_waits(changes, now, MAX_TOOLS))
            self._waits.settle(changes)

    async def load(self, tenant: str, data: bytes, *, check: archive.Check = id) -> Session:
        """A new session from an exported one. `check` refuses messages by a ValueError. Raises InvalidArchiveError."""
        return await self._commit(lambda tx, now: archive.load(tx, tenant, data, now, check))

    def _learn(self, begun: Begun) -> None:
        """How long the tools took, from a turn that brings their results."""
        parent, turn = begun.parent, begun.turn
        if begun.is_replay or parent is None or parent.ended_at is None:
            return
        results = results_of(turn.messages)
        if answered := [call.name for call in calls_of(parent.answer) if call.call_id in results]:
            self._waits.observe(turn.tenant, answered, turn.created_at - parent.ended_at)

    async def _abandon(self, tenant: str, opening: asyncio.Future[Begun]) -> None:
        try:
            begun = await opening
        except Exception:
            return  # nothing was opened
        if not begun.is_replay:
            await self.interrupt(tenant, begun.turn.id)

    async def _commit(self, work: Callable[[Transaction, float], T], *, scrubs: bool = False) -> T:
        now = self._clock()
        return await self._store.commit(lambda tx: work(tx, now), scrubs=scrubs)
