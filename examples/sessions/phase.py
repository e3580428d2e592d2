"""What a process does at this moment, in a byte that another process reads, also after its death."""

from __future__ import annotations

import mmap
import sqlite3
from enum import IntEnum
from pathlib import Path
from typing import Any

from espalier.sessions.store.store import BUSY_TIMEOUT_S


class Phase(IntEnum):
    """Where a writer is: between transactions, in one, in the commit that brings it to disk."""

    IDLE = 0
    TRANSACTION = 1
    COMMIT = 2


class PhaseFile:
    """The byte."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def set(self, phase: Phase) -> None:
        """Say where this process is."""
        self._map[0] = phase

    def get(self) -> Phase:
        """Where the other process is, or was when it died."""
        return Phase(self._map[0])


def announcing(phase: PhaseFile) -> Any:
    """What opens the store's connections so that they say where they are."""

    class Announcing(sqlite3.Connection):
        def execute(self, sql: str, cells: Any = ()) -> sqlite3.Cursor:
            if sql == "COMMIT":
                phase.set(Phase.COMMIT)
            elif sql == "BEGIN IMMEDIATE":
                phase.set(Phase.TRANSACTION)
            try:
                return super().execute(sql, cells)
            finally:
                if sql == "COMMIT":
                    phase.set(Phase.IDLE)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=Announcing
        )

    return connect
