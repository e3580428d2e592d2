"""Group commit: one thread writes; whatever waits when it comes to a transaction goes to disk with one fsync.

A job is answered only after the commit that holds it has returned. A job that raises an error of ours is undone alone.
When SQLite fails to write, the transaction's jobs and all later ones get ReadOnlyError: what the disk then holds is
unknown, so nothing is acknowledged any more.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from espalier.sessions.errors import CorruptError, ReadOnlyError
from espalier.sessions.store.transaction import Transaction

T = TypeVar("T")

MAX_GROUP = 256
"""Most jobs of one transaction, so that the first of them does not wait for ever more."""
CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Callable[[Transaction], T]
    scrubs: bool
    future: Future[T]


@dataclass(slots=True)
class GroupStats:
    """What the writer has done: transactions, and the jobs in them."""

    transactions: int = 0
    jobs: int = 0


class Writer:
    """Owns the one connection that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._transaction = connection, Transaction(connection)
        self._queue: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        # A process that ends without `close` ends as if it were killed: nothing that was acknowledged is lost by it.
        self._thread = threading.Thread(target=self._run, name="sessions-write", daemon=True)
        self.failure: str | None = None
        self.stats = GroupStats()
        self._thread.start()

    def submit(self, work: Callable[[Transaction], T], *, scrubs: bool = False) -> Future[T]:
        """Have `work` done in a transaction; the future is set once it is on disk, or undone.

        With `scrubs` it is set only when what was deleted is gone from the log, too.
        """
        job = _Job(work, scrubs, Future())
        self._queue.put(cast(_Job[object], job))
        return job.future

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            jobs, is_last = self._take()
            if jobs:
                self._write(jobs)
            if is_last:
                return

    def _take(self) -> tuple[list[_Job[object]], bool]:
        """Wait for a job, then take all that wait with it."""
        jobs: list[_Job[object]] = []
        item = self._queue.get()
        while item is not None:
            jobs.append(item)
            if len(jobs) == MAX_GROUP:
                return jobs, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _write(self, jobs: list[_Job[object]]) -> None:
        settle: list[Callable[[], None]] = []
        try:
            if self.failure is None:
                self._connection.execute("BEGIN IMMEDIATE")
                # A caller that gave up before its turn came is not served; later it can't be called off any more.
                jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
                settle = [self._do(job) for job in jobs]
                self._connection.execute("COMMIT")
                if any(job.scrubs for job in jobs):
                    self._scrub()
        except Exception as error:  # whatever it is: this thread must live, and answer
            self._fail(error)
        if self.failure is not None:
            for job in jobs:
                if not job.future.cancelled():
                    job.future.set_exception(ReadOnlyError(self.failure))
            return
        self.stats.transactions += 1
        self.stats.jobs += len(jobs)
        for answer in settle:
            answer()

    def _do(self, job: _Job[object]) -> Callable[[], None]:
        """Do one job; returns what tells its caller, once the transaction is on disk."""
        self._connection.execute("SAVEPOINT job")
        try:
            result = job.work(self._transaction)
        except sqlite3.IntegrityError as error:
            return self._undone(job, error)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF not in CORRUPT or not self._connection.in_transaction:
                raise
            return self._undone(job, CorruptError("a page of the database"))
        except Exception as error:
            return self._undone(job, error)
        self._connection.execute("RELEASE job")
        return lambda: job.future.set_result(result)

    def _undone(self, job: _Job[object], error: Exception) -> Callable[[], None]:
        self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")
        return lambda: job.future.set_exception(error)

    def _scrub(self) -> None:
        """Bring the log into the database, where deleted cells are zeros, and cut it to nothing."""
        busy = 1
        while busy:  # a reader holds the log for the length of one statement
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _fail(self, error: Exception) -> None:
        self.failure = getattr(error, "sqlite_errorname", None) or type(error).__name__
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # SQLite has rolled back by itself, or can't: either way nothing is written any more
