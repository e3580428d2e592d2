"""A real server on loopback, in a thread, with a scripted engine and a store: for clients that open sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from espalier.gateway.http_protocol import BoundedProtocol
from espalier.gateway.server import Server
from espalier.sessions import Sessions


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The base URL of a server that runs in a thread."""
    server = Server(uvicorn.Config(app, http=BoundedProtocol, ws="none", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def stored(folder: Path) -> Iterator[Sessions]:
    """Sessions in a folder, for a server that runs elsewhere."""
    sessions = asyncio.run(Sessions.open(folder))
    try:
        yield sessions
    finally:
        asyncio.run(sessions.close())
