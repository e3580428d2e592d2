"""What is read of sessions, as the gateway's routes see it; `Sessions` adds what changes them.

A tenant reaches only what is its own; anything else raises the same NotFoundError, whether it exists or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from espalier.sessions import archive, operation
from espalier.sessions.errors import NotFoundError
from espalier.sessions.path import Path
from espalier.sessions.session import ID_PREFIXES, Kind, Session
from espalier.sessions.store import Store
from espalier.sessions.store.reader import Order, Reader
from espalier.sessions.turn import Idempotency, Record, Turn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and whether more follow; the id of the last one leads on."""

    items: tuple[T, ...]
    has_more: bool


class View:
    """Reads a store, in threads. Times are seconds since the epoch, by `clock`."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock

    async def get(self, tenant: str, session_id: str) -> Session:
        """A session. Raises NotFoundError."""
        return await self._read(lambda reader, now: reader.session(tenant, session_id, now))

    async def find(self, tenant: str, ref: str) -> Session:
        """A session by its id or by its name. Raises NotFoundError."""

        def read(reader: Reader, now: float) -> Session:
            if not ref.startswith(ID_PREFIXES):
                known = reader.named(tenant, ref)
                if known is None or known.is_expired(now):
                    raise NotFoundError("session", ref)
                return known
            return reader.session(tenant, ref, now)

        return await self._read(read)

    async def list(
        self, tenant: str, *, kind: Kind = "session", limit: int = 20, after: str | None = None, order: Order = "desc"
    ) -> Page[Session]:
        """Sessions by the time they were made. Raises NotFoundError for an unknown `after`."""
        found = await self._read(
            lambda reader, now: reader.sessions(tenant, kind, now, limit=limit + 1, after=after, order=order)
        )
        return _page(found, limit)

    async def turn(self, tenant: str, ref: str) -> Turn:
        """A turn by its own id or its response's. Raises NotFoundError."""
        return await self._read(lambda reader, now: reader.turn(tenant, ref, now))

    async def record(self, tenant: str, ref: str) -> Record:
        """What the caller has stored with a turn. Raises NotFoundError."""
        return await self._read(lambda reader, now: reader.record(reader.turn(tenant, ref, now).id))

    async def records(self, path: Path) -> tuple[Record, ...]:
        """What the caller has stored with the turns of a path, one for each. Raises CorruptError, NotFoundError."""

        def read(reader: Reader, now: float) -> tuple[Record, ...]:
            return tuple(reader.record(turn.id) for turn in path.turns)

        return await self._read(read)

    async def turns(
        self, tenant: str, session_id: str, *, limit: int = 20, after: str | None = None, order: Order = "asc"
    ) -> Page[Turn]:
        """The turns that a session has opened, abandoned and interrupted ones too, by the time they began."""

        def read(reader: Reader, now: float) -> list[Turn]:
            session = reader.session(tenant, session_id, now)
            return reader.turns(session, limit=limit + 1, after=after, order=order)

        return _page(await self._read(read), limit)

    async def path(self, tenant: str, session_id: str, *, at: str | None = None) -> Path:
        """What a session's next turn follows, or what led to one of its turns. Raises NotFoundError."""

        def read(reader: Reader, now: float) -> Path:
            session = reader.session(tenant, session_id, now)
            return Path(session, reader.path(session.head if at is None else operation.member(reader, session, at).id))

        return await self._read(read)

    async def path_to(self, tenant: str, ref: str) -> Path:
        """What led to a turn, that one included, with the session it belongs to. Raises NotFoundError."""

        def read(reader: Reader, now: float) -> Path:
            turn = reader.turn(tenant, ref, now)
            return Path(reader.owner(turn), reader.path(turn.id))

        return await self._read(read)

    async def replay(self, tenant: str, idempotency: Idempotency) -> Turn | None:
        """The turn that a key has opened, running or complete. Raises IdempotencyConflictError."""
        return await self._read(lambda reader, now: operation.replay(reader, tenant, idempotency, now))

    async def export(self, tenant: str, session_id: str) -> bytes:
        """A session with all its turns, for `load` here or elsewhere. Raises NotFoundError."""
        return await self._read(lambda reader, now: archive.export(reader, tenant, session_id, now))

    async def _read(self, work: Callable[[Reader, float], T]) -> T:
        now = self._clock()
        return await self._store.read(lambda reader: work(reader, now))


def _page(items: list[T], limit: int) -> Page[T]:
    return Page(tuple(items[:limit]), len(items) > limit)
