"""An engine's process over a workload, one limit of time for each case: behind a case that hangs it starts anew."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Any

SETUP_S = 120.0


def run_engine(command: Sequence[str], workload: str, names: Sequence[str], limit_s: float, *words: str) -> list[Any]:
    """What `mask_run` told of each case, in order; a case over the limit, or that ended the process, has an error.

    `names` are the cases' ids. The first and last entries tell the memory: see `mask_run`.
    """
    told, start = list[Any](), 0
    while start < len(names):
        process = subprocess.Popen([*command, workload, str(start), *words], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = _lines(process.stdout)
        try:
            start = _follow(lines, names, start, limit_s, told)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    return told


def _follow(lines: queue.Queue[str | None], names: Sequence[str], start: int, limit_s: float, told: list[Any]) -> int:
    """Take one process's lines into `told`; returns the case with which another one has to begin."""
    limit, is_ready = SETUP_S, False
    while True:
        try:
            line = lines.get(timeout=limit)
        except queue.Empty:
            reason = f"no answer in {limit:g} s"
            break
        if line is None:
            reason = "the process ended"
            break
        read = json.loads(line)
        told.append(read)
        if "done" in read:
            return len(names)
        start += "case" in read
        limit, is_ready = limit_s, True
    if not is_ready:
        told.append({"error": f"set-up: {reason}"})
        return len(names)
    if start < len(names):
        told.append({"case": names[start], "error": reason})
    return start + 1


def _lines(stream: IO[str]) -> queue.Queue[str | None]:
    """The lines of a stream as they come; None at its end."""
    found = queue.Queue[str | None]()

    def read() -> None:
        try:
            for line in stream:
                found.put(line)
        except ValueError:  # closed
            pass
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found
