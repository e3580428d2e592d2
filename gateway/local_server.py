"""A server of one's own for as long as a block runs: `espalier serve` as a child process on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

END_S = 10.0


class LocalServerError(Exception):
    """The server could not start; the message is its own."""


@contextmanager
def local_server(model: str | None = None, words: Sequence[str] = ()) -> Iterator[str]:
    """Start a server of `model` (default the bundled one) and give its URL; `words` are further arguments of serve."""
    command = [sys.executable, "-P", "-m", "espalier.gateway.cli", "serve", *([model] if model else []), *words]
    with (
        tempfile.TemporaryFile("w+") as log,
        # A session of its own: the terminal's Ctrl-C stops an answer, not the server.
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", "--log-level", "warning"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = next((found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line))), None)
            if url is None:
                log.seek(0)
                raise LocalServerError(_reason(log.readlines()))
            yield url
        finally:
            _end(process)


def _reason(lines: Sequence[str]) -> str:
    told = [line for line in lines if line.startswith("espalier: error: ")] or lines[-1:]
    return told[-1].strip().removeprefix("espalier: error: ") if told else "the server ended without a word"


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
