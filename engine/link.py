"""The engine's end of the socket to the gateway: blocking, with a bound on every wait."""

from __future__ import annotations

import select
import socket
import struct

from espalier.engine.frames import FrameReader, encode
from espalier.engine.messages import FromEngine, ToEngine

SEND_TIMEOUT_S = 30.0
SEND_BUFFER_BYTES = 4 * 2**20
RECEIVE_BYTES = 2**20


class LinkClosedError(Exception):
    """The gateway closed its end, or reads no more."""


class Link:
    """Messages over a connected stream socket; a send waits at most `send_timeout_s` for its reader."""

    def __init__(self, sock: socket.socket, *, send_timeout_s: float = SEND_TIMEOUT_S) -> None:
        sock.setblocking(True)
        sock.set_inheritable(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        # The kernel's own timeout: Python's would make the socket non-blocking, for receiving too.
        seconds, part = divmod(send_timeout_s, 1)
        timeval = struct.pack("@ll", int(seconds), int(part * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._frames: FrameReader[ToEngine] = FrameReader(ToEngine)

    def receive(self, wait_s: float) -> list[ToEngine]:
        """What has arrived, waiting `wait_s` for it. Raises LinkClosedError at the end, FrameError on garbage."""
        if not self._poll.poll(wait_s * 1000):
            return []
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except ConnectionError as error:
            raise LinkClosedError("the gateway is gone") from error
        if not data:
            raise LinkClosedError("the gateway closed the socket")
        return self._frames.feed(data)

    def send(self, message: FromEngine) -> None:
        """Send one message. Raises LinkClosedError if the gateway is gone or has not read for the send timeout."""
        try:
            self._sock.sendall(encode(message))
        except BlockingIOError as error:
            raise LinkClosedError("the gateway stopped reading") from error
        except ConnectionError as error:
            raise LinkClosedError("the gateway is gone") from error
