"""A disk that forgets what was not synced: SQLite writes through it, and a power loss can be had at any point.

A VFS of apsw passes everything on to real files, so that SQLite works as ever, and keeps for each file what is certain
to be on the disk: the content at its last sync. Writes since then may be lost, in any choice, or torn at a sector.
Not simulated: that a new file's name is lost, against which SQLite syncs the folder.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import apsw

SECTOR = 512


@dataclass
class DiskFile:
    """What is certain of a file, and what was written since."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut to that length

    def sync(self) -> None:
        for write in self.pending:
            _apply(self.synced, write)
        self.pending.clear()


class FaultyDisk:
    """The files under one folder. `crash` gives what a machine finds after a loss of power now."""

    def __init__(self, random_: random.Random) -> None:
        self.files: dict[str, DiskFile] = {}
        self.random = random_
        self.lock = threading.Lock()
        self.fails: Callable[[str], bool] = lambda what: False
        self.num_writes = self.num_syncs = 0
        self.after_change: Callable[[], None] = lambda: None

    def crash(self) -> dict[str, bytes]:
        """Contents by name: of what was not synced a random part, each write whole, torn, or lost."""
        with self.lock:
            found = {}
            for name, file in self.files.items():
                content = bytearray(file.synced)
                for write in file.pending:
                    for part in self._survivors(write):
                        _apply(content, part)
                found[name] = bytes(content)
            return found

    def _survivors(self, write: tuple[int, bytes | None]) -> Iterator[tuple[int, bytes | None]]:
        at, data = write
        fate = self.random.random()
        if fate < 0.4:
            yield write
        elif fate < 0.7 and data is not None:
            for start in range(0, len(data), SECTOR):
                if self.random.random() < 0.5:
                    yield at + start, data[start : start + SECTOR]


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        path = name if isinstance(name, str) else name.filename()
        with disk.lock:
            self._file = disk.files.setdefault(Path(path).name, DiskFile())

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._check("write")
        super().xWrite(data, offset)
        with self._disk.lock:
            self._file.pending.append((offset, bytes(data)))
            self._disk.num_writes += 1
        self._disk.after_change()

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        with self._disk.lock:
            self._file.pending.append((size, None))
        self._disk.after_change()

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._check("sync")
        with self._disk.lock:
            self._file.sync()
            self._disk.num_syncs += 1
        self._disk.after_change()

    def _check(self, what: str) -> None:
        if self._disk.fails(what):
            raise apsw.IOError(f"the disk fails to {what}")


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: FaultyDisk) -> None:
        super().__init__(name, "")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        return _File(self._disk, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(name, syncdir)
        with self._disk.lock:
            self._disk.files.pop(Path(name).name, None)
        self._disk.after_change()


class Connection:
    """What the store uses of `sqlite3.Connection`, over apsw; errors become sqlite3's."""

    def __init__(self, path: Path, vfs: str, *, is_careless: bool = False) -> None:
        self._is_careless = is_careless
        self._connection = _told(lambda: apsw.Connection(str(path), vfs=vfs))
        self._connection.set_busy_timeout(10_000)

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)

    def execute(self, sql: str, cells: tuple[Any, ...] = ()) -> Any:
        if self._is_careless:
            sql = sql.replace("synchronous = FULL", "synchronous = OFF")
        rows = _told(lambda: self._connection.execute(sql, cells).fetchall())
        return _Rows(rows)

    def close(self) -> None:
        _told(self._connection.close)


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


def connector(disk: FaultyDisk, name: str, *, is_careless: bool = False) -> Callable[[Path], sqlite3.Connection]:
    """What opens the store's connections on a faulty disk; `name` is the VFS's, one for each disk.

    A careless one waits for no sync, whatever it is told.
    """
    vfs = _Vfs(name, disk)

    def connect(path: Path) -> sqlite3.Connection:
        connection = Connection(path, name, is_careless=is_careless)
        # Checkpoints are where it is easiest to lose something.
        connection.execute("PRAGMA wal_autocheckpoint = 40")
        connection.vfs = vfs  # type: ignore[attr-defined]  # it lives as long as they do
        return cast(sqlite3.Connection, connection)

    return connect


def _told(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except apsw.Error as error:
        told = sqlite3.OperationalError(str(error))
        told.sqlite_errorcode = getattr(error, "result", apsw.SQLITE_IOERR)
        told.sqlite_errorname = str(apsw.mapping_result_codes.get(told.sqlite_errorcode & 0xFF, "SQLITE_ERROR"))
        raise told from error


def _apply(content: bytearray, write: tuple[int, bytes | None]) -> None:
    at, data = write
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
