"""uvicorn's HTTP/1.1 connection with deadlines of its own: uvicorn waits for ever for a head, and for a reader.

A client that dawdles holds nothing but its own connection, and that not for long; the others don't notice.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from espalier.gateway.errors import invalid

HEAD_TIMEOUT_S = 15.0
"""The request line and all headers have to arrive within this time from their first byte, or from the connection."""
READ_TIMEOUT_S = 60.0
"""A client has to take what was sent to it, but for a socket's buffer, within this time."""


class _Timer:
    """Ends a connection after a time, unless stopped before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._handle: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._handle is not None

    def start(self, transport: asyncio.Transport) -> None:
        """Count from now."""
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def stop(self) -> None:
        """Count no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class BoundedProtocol(H11Protocol):
    """One connection. What is sent to a client that takes nothing is thrown away with the connection."""

    head_timeout_s = HEAD_TIMEOUT_S
    read_timeout_s = READ_TIMEOUT_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head, self._read = _Timer(self.head_timeout_s), _Timer(self.read_timeout_s)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head.start(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._read.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head.stop()  # the head is whole
        elif not self._head.runs:
            self._head.start(self.transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read.start(self.transport)

    def resume_writing(self) -> None:
        self._read.stop()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # close() would wait for a reader that took nothing all the while
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has too long a head, in the shape of all errors."""
        body = msgspec.json.encode(invalid("the request is no valid HTTP/1.1, or its head is too long").body())
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
