"""The store: a locked folder, one connection that writes in groups, a few that read beside it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from espalier.sessions.errors import CorruptError, StoreError
from espalier.sessions.store.folder import Folder
from espalier.sessions.store.migration import MIGRATIONS, migrate
from espalier.sessions.store.reader import Reader
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.store.writer import GroupStats, Writer

T = TypeVar("T")
Connect = Callable[[Path], sqlite3.Connection]

READERS = 2
BUSY_TIMEOUT_S = 10.0
PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit returns after the log's fsync: it survives the loss of power
    "secure_delete = ON",  # what is deleted is overwritten by zeros
    "temp_store = MEMORY",
    "foreign_keys = ON",
    "cell_size_check = ON",
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any one thread at a time."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


class Store:
    """Opened by `open`; everything that is awaited has been read from, or is on, the disk."""

    def __init__(self, folder: Folder, writer: Writer, open_connection: Callable[[], sqlite3.Connection]) -> None:
        self._folder, self._writer, self._open = folder, writer, open_connection
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sessions-read")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @classmethod
    def open(cls, path: Path, *, connect: Connect = connect, migrations: tuple[str, ...] = MIGRATIONS) -> Store:
        """Open the store in a folder, made if there is none. Raises StoreError."""
        folder = Folder(path)
        try:
            database = folder.database()

            def open_connection() -> sqlite3.Connection:
                connection = connect(database)
                for pragma in PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                return connection

            connection = open_connection()
            migrate(connection, migrations)
            return cls(folder, Writer(connection), open_connection)
        except sqlite3.Error as error:
            folder.close()
            raise StoreError(f"the sessions' database can't be read: {error}; restore it, or move it away") from error
        except BaseException:
            folder.close()
            raise

    @property
    def failure(self) -> str | None:
        """Why nothing is written any more; None while all is well."""
        return self._writer.failure

    @property
    def stats(self) -> GroupStats:
        """Transactions written so far, and the jobs in them."""
        return self._writer.stats

    async def commit(self, work: Callable[[Transaction], T], *, scrubs: bool = False) -> T:
        """Do `work` in a transaction and return when it is on disk (with `scrubs`, when nothing deleted is left).

        If the caller is cancelled the work is done all the same. Raises what `work` raises, and ReadOnlyError.
        """
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(work, scrubs=scrubs)))

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Do `work` in a thread, on one consistent state. Raises what `work` raises, and CorruptError."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish what was asked for, then give the folder free."""
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        self._writer.close()
        self._folder.close()

    def _read(self, work: Callable[[Reader], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
            self._connections.append(connection)
        try:
            connection.execute("BEGIN")
            try:
                return work(Reader(connection))
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            raise CorruptError("a page of the database") from error
