"""uvicorn, with an orderly end: on the first signal no new requests, running ones finish; on the second, at once.

The engine is drained while the connections finish, so that a request which takes too long gets its last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from espalier.gateway.engine_client import EngineClient
from espalier.gateway.http_protocol import BoundedProtocol
from espalier.gateway.log import Log

MAX_HEADER_BYTES = 32 * 1024
KEEP_ALIVE_S = 75
# After the engine has ended the last request, its last bytes still have to reach the client.
FLUSH_S = 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOG = Log("server")


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield


async def serve(app: ASGIApp, client: EngineClient, listener: socket.socket, *, drain_timeout_s: float) -> None:
    """Serve `app` on `listener` until SIGTERM or SIGINT, then drain `client` and return."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(drain_timeout_s + FLUSH_S) + 1,
    )
    server = Server(config)
    asked = asyncio.Event()
    with _signals(_ender(asked)):
        running = asyncio.create_task(server.serve(sockets=[listener]), name="server")
        asking = asyncio.create_task(asked.wait(), name="signal")
        await asyncio.wait({running, asking}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        server.should_exit = True
        await client.drain(drain_timeout_s)
        await running


def _ender(asked: asyncio.Event) -> Callable[[signal.Signals], None]:
    def end(number: signal.Signals) -> None:
        if asked.is_set():
            os._exit(128 + number)  # the engine ends with us
        _LOG.info("draining", signal=number.name)
        asked.set()

    return end


@contextlib.contextmanager
def _signals(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
