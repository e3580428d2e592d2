"""One life of an engine process as its parent sees it: spawned, spoken with, ended, its stderr turned into log records.

The two are joined by a socket pair, so there is no name in the file system that a third could connect to, and each
notices at once when the other is gone. Invariant: after `end` the process does not exist and no task is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence

import msgspec

from espalier.engine.frames import FrameReader, encode
from espalier.engine.messages import FromEngine, ToEngine
from espalier.engine.options import EngineOptions
from espalier.gateway.log import Log

# -P keeps modules in the working directory from standing in for ours.
ENGINE_COMMAND = (sys.executable, "-P", "-m", "espalier.engine.process")
READ_BYTES = 2**18
MAX_LINE_BYTES = 2**15

_LOG = Log("engine")
_LEVELS = {"debug", "info", "warning", "error"}


class EngineChild:
    """A running engine process; make one with `await EngineChild.spawn(...)`."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._frames: FrameReader[FromEngine] = FrameReader(FromEngine)
        assert process.stdout is not None
        self._log_task = asyncio.create_task(_log_lines(process.stdout))

    @classmethod
    async def spawn(cls, options: EngineOptions, command: Sequence[str] = ENGINE_COMMAND) -> EngineChild:
        """Start `command FD OPTIONS`: the number of an inherited socket, the options as JSON. Raises OSError."""
        ours, theirs = socket.socketpair()  # ours ends with us, and the process with ours
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(theirs.fileno()),
                    msgspec.json.encode(options).decode(),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
        except OSError:
            ours.close()
            raise
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=READ_BYTES)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, message: ToEngine) -> None:
        """Send without waiting; to a process that is gone, nothing. Raises FrameError if the message is too long."""
        self.write(encode(message))

    def write(self, frame: bytes) -> None:
        """Send what `frames.encode` made, without waiting."""
        if not self._writer.is_closing():
            self._writer.write(frame)

    async def flush(self) -> None:
        """Wait until the process has read most of what was sent."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self, timeout_s: float) -> list[FromEngine] | None:
        """The next messages: None if there are none for `timeout_s`, [] at the end. Raises FrameError on garbage."""
        try:
            async with asyncio.timeout(timeout_s):
                messages: list[FromEngine] = []
                while not messages and (data := await self._reader.read(READ_BYTES)):
                    messages = self._frames.feed(data)
                return messages
        except TimeoutError:
            return None
        except ConnectionError:
            return []

    def close(self) -> None:
        """Close our end of the socket, on which the process ends by itself and `receive` returns none."""
        self._writer.close()

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self, grace_s: float) -> str:
        """Wait `grace_s` for the process to end by itself, then kill it; returns how it ended, in words."""
        self.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._log_task
        return _ending(self._process.returncode or 0)


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


async def _log_lines(stream: asyncio.StreamReader) -> None:
    """Write each line of the process's stderr into our log, cut to a length that it can't flood."""
    rest = b""
    while data := await stream.read(MAX_LINE_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _log_line(line)
        if len(rest) > MAX_LINE_BYTES:
            _log_line(rest)
            rest = b""
    _log_line(rest)


def _log_line(line: bytes) -> None:
    """A record of ours as it is, anything else (a library, the interpreter's last words) as text."""
    if not line.strip():
        return
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        level, event = str(fields.pop("level")), str(fields.pop("event"))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        _LOG.warning("engine_stderr", line=line.decode(errors="replace"))
        return
    _LOG.write(level if level in _LEVELS else "error", event, **fields)  # type: ignore[arg-type]
