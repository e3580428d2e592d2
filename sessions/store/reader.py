"""Reading sessions and turns: one statement a method. Ids of another tenant are as unknown as any."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from typing import Literal, cast

from espalier.sessions.errors import CorruptError, NotFoundError
from espalier.sessions.session import Kind, Session
from espalier.sessions.store.row import (
    RECORD_COLUMNS,
    SESSION_COLUMNS,
    TURN_COLUMNS,
    WAIT_COLUMNS,
    Cell,
    Row,
    record_of,
    session_of,
    turn_of,
    wait_of,
)
from espalier.sessions.turn import Record, Turn
from espalier.sessions.wait import Learnt

Order = Literal["asc", "desc"]

_SESSION = f"SELECT {', '.join(SESSION_COLUMNS)}, checksum FROM sessions"
_TURN = f"SELECT {', '.join('turns.' + name for name in TURN_COLUMNS)}, turns.checksum FROM turns"
_RECORD = f"SELECT {', '.join(RECORD_COLUMNS)}, checksum FROM records"
_PATH = f"""
WITH RECURSIVE path (id, depth) AS (
    VALUES (?, 0) UNION ALL
    SELECT turns.parent, path.depth + 1 FROM path JOIN turns ON turns.id = path.id WHERE turns.parent IS NOT NULL
) {_TURN} JOIN path ON path.id = turns.id ORDER BY path.depth DESC
"""
_BELOW = f"""
WITH RECURSIVE below (id) AS (VALUES (?) UNION ALL SELECT turns.id FROM below JOIN turns ON turns.parent = below.id)
{_TURN} JOIN below ON below.id = turns.id ORDER BY turns.seq
"""
TURN_PREFIX = "turn_"


class Reader:
    """Reads through one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def session(self, tenant: str, session_id: str, now: float) -> Session:
        """A session that has not expired. Raises NotFoundError, CorruptError."""
        row = self._one(f"{_SESSION} WHERE id = ? AND tenant = ?", session_id, tenant)
        session = None if row is None else session_of(row)
        if session is None or session.is_expired(now):
            raise NotFoundError("session", session_id)
        return session

    def named(self, tenant: str, name: str) -> Session | None:
        """The session that a tenant calls so, expired or not. Raises CorruptError."""
        row = self._one(f"{_SESSION} WHERE tenant = ? AND name = ?", tenant, name)
        return None if row is None else session_of(row)

    def owner(self, turn: Turn) -> Session:
        """The session of a turn. Raises CorruptError."""
        row = self._one(f"{_SESSION} WHERE id = ?", turn.session_id)
        if row is None:
            raise CorruptError(f"session {turn.session_id!r}")
        return session_of(row)

    def sessions(
        self, tenant: str, kind: Kind, now: float, *, limit: int, after: str | None, order: Order
    ) -> list[Session]:
        """The sessions that have not expired, from the one after `after`. Damaged ones are left out."""
        start = self._seq("sessions", "session", after, tenant) if after is not None else None
        found: list[Session] = []
        sql = f"{_SESSION} WHERE tenant = ? AND kind = ? {_beyond(order, start)} ORDER BY seq {order}"
        for row in self._connection.execute(sql, (tenant, kind)):
            try:
                session = session_of(row)
            except CorruptError:
                continue
            if not session.is_expired(now):
                found.append(session)
            if len(found) == limit:
                break
        return found

    def turn(self, tenant: str, ref: str, now: float) -> Turn:
        """A turn by its own id or its response's, unless it was deleted. Raises NotFoundError, CorruptError."""
        turn = self.find(tenant, ref)
        if turn is None or turn.is_hidden or self.owner(turn).is_expired(now):
            raise NotFoundError("turn" if ref.startswith(TURN_PREFIX) else "response", ref)
        return turn

    def find(self, tenant: str, ref: str) -> Turn | None:
        """A turn by its own id or its response's, also a hidden one."""
        column = "id" if ref.startswith(TURN_PREFIX) else "response_id"
        row = self._one(f"{_TURN} WHERE {column} = ? AND tenant = ?", ref, tenant)
        return None if row is None else turn_of(row)

    def by_key(self, tenant: str, key: str) -> Turn | None:
        """The turn that an idempotency key has opened."""
        row = self._one(f"{_TURN} WHERE tenant = ? AND idempotency_key = ? ORDER BY seq DESC LIMIT 1", tenant, key)
        return None if row is None else turn_of(row)

    def turns(
        self, session: Session, *, limit: int, after: str | None, order: Order, hidden: bool = False
    ) -> list[Turn]:
        """Turns that a session has opened, whatever became of them, from the one after `after`."""
        start = self._seq("turns", "turn", after, session.tenant) if after is not None else None
        sql = f"{_TURN} WHERE session_id = ? AND is_hidden <= ? {_beyond(order, start)} ORDER BY seq {order} LIMIT ?"
        return [turn_of(row) for row in self._all(sql, session.id, hidden, limit)]

    def path(self, turn_id: str | None) -> tuple[Turn, ...]:
        """The turns that lead to one, that one included. Raises CorruptError where one is missing."""
        if turn_id is None:
            return ()
        turns = tuple(turn_of(row) for row in self._all(_PATH, turn_id))
        if not turns or turns[0].parent is not None:
            raise CorruptError(f"the history of turn {turn_id!r}")
        return turns

    def below(self, turn_id: str) -> list[Turn]:
        """A turn and all that continue it, in whatever session, oldest first."""
        return [turn_of(row) for row in self._all(_BELOW, turn_id)]

    def record(self, turn_id: str) -> Record:
        """The caller's own record of a turn. Raises CorruptError."""
        row = self._one(f"{_RECORD} WHERE turn_id = ?", turn_id)
        if row is None:
            raise CorruptError(f"the record of turn {turn_id!r}")
        return record_of(row)

    def has_session(self, tenant: str, session_id: str) -> bool:
        """Whether a tenant has a session of that id, damaged or not."""
        return self._one("SELECT 1 FROM sessions WHERE id = ? AND tenant = ?", session_id, tenant) is not None

    def has_response(self, response_id: str) -> bool:
        """Whether any turn has that response id."""
        return self._one("SELECT 1 FROM turns WHERE response_id = ?", response_id) is not None

    def expired(self, now: float) -> list[tuple[str, str]]:
        """Tenant and id of sessions that have expired."""
        sql = "SELECT tenant, id FROM sessions WHERE ttl_s IS NOT NULL AND updated_at + ttl_s <= ? AND running IS NULL"
        return cast(list[tuple[str, str]], self._all(sql, now))

    def parents(self, session_id: str) -> dict[str, str | None]:
        """The parent of each of a session's turns, damaged ones included."""
        return dict(
            cast(
                Iterable[tuple[str, str | None]],
                self._all("SELECT id, parent FROM turns WHERE session_id = ? ORDER BY seq", session_id),
            )
        )

    def bases(self, session_id: str) -> dict[str, str]:
        """The other sessions that were forked at a turn of this one, and at which."""
        sql = """SELECT sessions.id, sessions.base FROM turns JOIN sessions ON sessions.base = turns.id
                 WHERE turns.session_id = ? AND sessions.id != turns.session_id"""
        return dict(cast(Iterable[tuple[str, str]], self._all(sql, session_id)))

    def is_continued(self, turn_id: str) -> bool:
        """Whether another turn follows a turn, or another session was forked at it."""
        sql = """SELECT EXISTS (SELECT 1 FROM turns WHERE parent = ?)
                     OR EXISTS (SELECT 1 FROM turns JOIN sessions ON sessions.base = turns.id
                                WHERE turns.id = ? AND sessions.id != turns.session_id)"""
        row = self._one(sql, turn_id, turn_id)
        return row is not None and bool(row[0])

    def running(self) -> list[tuple[str, str]]:
        """Tenant and id of the turns that run."""
        return cast(list[tuple[str, str]], self._all("SELECT tenant, id FROM turns WHERE state = 'running'"))

    def waits(self) -> list[Learnt]:
        """What was learnt of tools, of the one used least recently first. Damaged rows are left out."""
        found: list[Learnt] = []
        for row in self._all(f"SELECT {', '.join(WAIT_COLUMNS)}, checksum FROM waits ORDER BY learnt_at"):
            with contextlib.suppress(CorruptError):
                found.append(wait_of(row))
        return found

    def _seq(self, table: str, what: str, ref: str, tenant: str) -> int:
        row = self._one(f"SELECT seq FROM {table} WHERE id = ? AND tenant = ?", ref, tenant)
        if row is None:
            raise NotFoundError(what, ref)
        return cast(int, row[0])

    def _one(self, sql: str, *cells: Cell) -> Row | None:
        return cast("Row | None", self._connection.execute(sql, cells).fetchone())

    def _all(self, sql: str, *cells: Cell) -> list[Row]:
        return self._connection.execute(sql, cells).fetchall()


def _beyond(order: Order, start: int | None) -> str:
    return "" if start is None else f"AND seq {'>' if order == 'asc' else '<'} {start}"
