"""The folder of the disk tier: one inside it for each fingerprint, readable by the owner only, locked while used."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

from espalier.engine.errors import EngineError


class TierFolder:
    """`path` is where files of this fingerprint lie. Raises EngineError if it is in use or can't be made."""

    def __init__(self, base: Path, digest: str, limit_bytes: int) -> None:
        self.path = base / digest
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            base.chmod(0o700)
            (self.path / "lock").touch(mode=0o600)
            self._lock: IO[str] = (self.path / "lock").open("w", encoding="ascii")
        except OSError as error:
            raise EngineError(f"the folder {base} for KV files can't be used: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise EngineError(f"another engine uses the KV files in {base}; give each its own folder") from error
        self._make_room(base, limit_bytes)

    def close(self) -> None:
        """Let others use it."""
        self._lock.close()

    def _make_room(self, base: Path, limit_bytes: int) -> None:
        """Remove what other checkpoints and settings left, the oldest first, where all together are over the limit."""
        others = sorted((one for one in base.iterdir() if one != self.path and one.is_dir()), key=_age)
        total = sum(_size(one) for one in [self.path, *others])
        for other in others:
            if total <= limit_bytes:
                return
            total -= _size(other)
            shutil.rmtree(other, ignore_errors=True)


def _age(folder: Path) -> float:
    return folder.stat().st_mtime


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
