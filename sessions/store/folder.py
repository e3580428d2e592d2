"""The store's folder: only its owner reads it, and only one process has it open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from espalier.sessions.errors import LockedError, StoreError

DATABASE = "sessions.db"
LOCK = "lock"


class Folder:
    """A locked folder; the lock goes with the process, however it ends. Raises StoreError if another has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"the sessions' folder can't be made or opened: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LockedError("another process has these sessions open; end it, or choose another data_dir") from None

    def database(self) -> Path:
        """The database's file, made if there is none, so that SQLite gives its neighbours the same mode."""
        path = self.path / DATABASE
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._sync()
        except OSError as error:
            raise StoreError(f"the sessions' database can't be made or opened: {error.strerror}") from error
        return path

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._lock)

    def _sync(self) -> None:
        # A new name in a folder is on disk only when the folder is.
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
