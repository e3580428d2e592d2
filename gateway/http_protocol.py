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


class BoundedProtocol(H11Protocol):
    """One connection. What is sent to a client that takes nothing is thrown away with the connection."""

    head_timeout_s = HEAD_TIMEOUT_S
    read_timeout_s = READ_TIMEOUT_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: asyncio.TimerHandle | None = None
        self._read: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(self.head_timeout_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = _cancel(self._head)
        self._read = _cancel(self._read)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head = _cancel(self._head)
        elif self._head is None and self.conn.their_state is h11.IDLE:
            self._head = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read = self.loop.call_later(self.read_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._read = _cancel(self._read)
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


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
