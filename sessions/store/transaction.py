"""Writing sessions and turns, inside a transaction that the writer opens and commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from espalier.sessions.errors import CorruptError
from espalier.sessions.session import Session
from espalier.sessions.store.reader import Reader
from espalier.sessions.store.row import (
    RECORD_COLUMNS,
    SESSION_COLUMNS,
    TURN_COLUMNS,
    WAIT_COLUMNS,
    Cell,
    record_row,
    session_row,
    turn_row,
    wait_row,
)
from espalier.sessions.turn import Record, Turn
from espalier.sessions.wait import Learnt


def _upsert(table: str, columns: list[str]) -> str:
    names = [*columns, "checksum"]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"
    )


_PUT_SESSION = _upsert("sessions", SESSION_COLUMNS)
_PUT_TURN = _upsert("turns", TURN_COLUMNS)
_PUT_RECORD = _upsert("records", RECORD_COLUMNS)
_PUT_WAIT = _upsert("waits", WAIT_COLUMNS)
# Of each tenant the newest first, then of each the next: who has the most gives up its oldest.
_TRIM_WAITS = """
DELETE FROM waits WHERE tool IN (
    SELECT tool FROM (
        SELECT tool, learnt_at, row_number() OVER (PARTITION BY tenant ORDER BY learnt_at DESC) AS place FROM waits
    ) ORDER BY place, learnt_at DESC LIMIT -1 OFFSET ?
)
"""


class Transaction(Reader):
    """Reads and writes; what it wrote counts only once the writer has committed."""

    def put_session(self, session: Session) -> None:
        """Write a session, new or changed."""
        self._run(_PUT_SESSION, *session_row(session))

    def put_turn(self, turn: Turn) -> None:
        """Write a turn, new or changed."""
        self._run(_PUT_TURN, *turn_row(turn))

    def put_record(self, turn_id: str, record: Record) -> None:
        """Write the caller's own record of a turn."""
        self._run(_PUT_RECORD, *record_row(turn_id, record))

    def put_waits(self, learnt: Iterable[Learnt], now: float, limit: int) -> None:
        """Write what was learnt of tools; beyond so many in all, who has the most loses those used least recently."""
        for one in learnt:
            self._run(_PUT_WAIT, *wait_row(one, now))
        counted = self._one("SELECT count(*) FROM waits")
        if counted is not None and cast(int, counted[0]) > limit:
            self._run(_TRIM_WAITS, limit)

    def delete_session(self, session_id: str) -> None:
        """Delete a session, not its turns."""
        self._run("DELETE FROM sessions WHERE id = ?", session_id)

    def delete_turns(self, turn_ids: Iterable[str]) -> None:
        """Delete turns with their records."""
        for turn_id in turn_ids:
            self._run("DELETE FROM records WHERE turn_id = ?", turn_id)
            self._run("DELETE FROM turns WHERE id = ?", turn_id)

    def adopt(self, adopted: Mapping[str, str], *, hides: bool = False) -> None:
        """Give turns to other sessions, found there or, with `hides`, as deleted ones.

        Damaged ones stay with none, and go with the last that continues them.
        """
        for turn_id, session_id in adopted.items():
            row = self._one("SELECT tenant FROM turns WHERE id = ?", turn_id)
            try:
                turn = None if row is None else self.find(str(row[0]), turn_id)
            except CorruptError:
                self._run("UPDATE turns SET session_id = ? WHERE id = ?", session_id, turn_id)
                continue
            if turn is not None and hides:
                self.hide(replace(turn, session_id=session_id))
            elif turn is not None:
                self.put_turn(replace(turn, session_id=session_id))

    def hide(self, turn: Turn) -> None:
        """Let a turn be found no more, with all that its caller stored; what continues it still has what it says."""
        self.put_turn(replace(turn, is_hidden=True, response_id=None, idempotency=None))
        self.put_record(turn.id, Record())

    def _run(self, sql: str, *cells: Cell) -> None:
        self._connection.execute(sql, cells)
