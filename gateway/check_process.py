"""Judges constraints in a process of its own, with bounded memory, that is killed when one takes too long.

Run as `python -m espalier.gateway.check_process` it reads frames of a constraint on stdin and answers each with a frame
of a `Verdict`. Invariant: no constraint is worked on for longer than the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import struct
import sys
from typing import BinaryIO

import msgspec

from espalier.gateway.log import Log
from espalier.gateway.schema_check import Verdict, byte_vocabulary, judged
from espalier.grammar import AnyConstraint

COMMAND = (sys.executable, "-P", "-m", "espalier.gateway.check_process")
MEMORY_BYTES = 2 * 2**30
TIMEOUT_S = 10.0
_LENGTH = struct.Struct(">I")
_LOG = Log("check")


class ProcessChecker:
    """One child process, started when it is first needed, again after it was killed. Close it in the end."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def judge(self, constraint: AnyConstraint) -> Verdict:
        """See `SchemaChecker.judge`."""
        async with self._turn:
            process = self._process or await self._start()
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await _ask(process, msgspec.msgpack.encode(constraint))
            except TimeoutError:
                limit = f"compile_s = {self._timeout_s:g}"
            except (asyncio.IncompleteReadError, ConnectionError):
                limit = f"compile_bytes = {MEMORY_BYTES:,}"
            except asyncio.CancelledError:
                await self._end()  # else the answer would be taken for that to the next question
                raise
            _LOG.warning("check_ended", limit=limit)
            await self._end()
            return Verdict("schema_too_large", f"the schema: over the limit {limit}", is_final=False)

    async def start(self) -> None:
        """Start the process now, so that the first request need not wait for it."""
        async with self._turn:
            if self._process is None:
                await self._start()

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe)
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def _ask(process: asyncio.subprocess.Process, body: bytes) -> Verdict:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(_LENGTH.pack(len(body)) + body)
    await process.stdin.drain()
    (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Verdict)


def main(given: BinaryIO, told: BinaryIO) -> None:
    """Judge constraints until there are no more."""
    vocabulary, decoder = byte_vocabulary(), msgspec.msgpack.Decoder(AnyConstraint)
    while len(head := given.read(_LENGTH.size)) == _LENGTH.size:
        body = given.read(_LENGTH.unpack(head)[0])
        verdict = msgspec.msgpack.encode(judged(decoder.decode(body), vocabulary))
        told.write(_LENGTH.pack(len(verdict)) + verdict)
        told.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    main(sys.stdin.buffer, sys.stdout.buffer)
