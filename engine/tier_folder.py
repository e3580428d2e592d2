"""The folder of the disk tier: one inside it for each fingerprint, readable by the owner only, locked while used."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

from espalier.engine.errors import EngineError

LOCK = "lock"


class TierFolder:
    """`path` is where files of this fingerprint lie. Raises EngineError if it is in use or can't be made.

    What other checkpoints and settings left is removed, unless an engine uses it: it is of no use here, and nobody
    could delete what a session has there.
    """

    def __init__(self, base: Path, digest: str) -> None:
        self.path = base / digest
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            base.chmod(0o700)
            self._lock: IO[str] = _opened(self.path)
        except OSError as error:
            raise EngineError(f"the folder {base} for KV files can't be used: {error}") from error
        if not _is_locked_by_us(self._lock):
            self._lock.close()
            raise EngineError(f"another engine uses the KV files in {base}; give each its own folder")
        for other in base.iterdir():
            if other != self.path and other.is_dir():
                _remove_unless_used(other)

    def close(self) -> None:
        """Let others use it."""
        self._lock.close()


def _opened(folder: Path) -> IO[str]:
    (folder / LOCK).touch(mode=0o600)
    return (folder / LOCK).open("w", encoding="ascii")


def _is_locked_by_us(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_unless_used(folder: Path) -> None:
    # Only what an engine has made: the folder may be shared with other things.
    if not (folder / LOCK).is_file():
        return
    with _opened(folder) as lock:
        if _is_locked_by_us(lock):
            shutil.rmtree(folder, ignore_errors=True)
