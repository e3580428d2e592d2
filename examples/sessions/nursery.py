"""Processes that are to be killed: a nursery forks one for each line it reads, so that none has to load Python anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO


def tell(line: str) -> None:
    """One line in one write: whole, or not at all."""
    os.write(1, f"{line}\n".encode())


def run(live: Callable[[str], None]) -> None:
    """Fork a process that does `live(line)` for each line of input; tells `pid N`, then `dead CODE` (killed: -9)."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(line)
            except BaseException as error:  # whatever it is, it has to be told before this process ends
                tell(f"error {error!r}")
            finally:
                os._exit(1)
        tell(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        tell(f"dead {os.waitstatus_to_exitcode(status)}")


class Nursery:
    """A nursery as its owner sees it."""

    def __init__(self, script: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def bear(self, line: str) -> int:
        """Have a process forked; its id."""
        self._in.write(line + "\n")
        self._in.flush()
        return int(self.line().removeprefix("pid "))

    def line(self) -> str:
        """The next line that was told."""
        line = self._out.readline().strip()
        if not line:
            raise RuntimeError("the nursery ended")
        return line

    def close(self) -> None:
        """End it."""
        self._in.close()
        self._process.wait()
        self._out.close()

    @property
    def _in(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout
