"""Connections with deadlines, on real sockets: who dawdles is cut, the others are served."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from espalier.engine.messages import Output, Usage
from espalier.gateway.http_protocol import BoundedProtocol
from espalier.gateway.scripted_client import READY, ScriptedClient
from espalier.gateway.server import Server

pytestmark = pytest.mark.anyio
BODY = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY)


class Impatient(BoundedProtocol):
    head_timeout_s = 0.2
    read_timeout_s = 0.2


@asynccontextmanager
async def served(app: Any, protocol: type[BoundedProtocol] = Impatient) -> AsyncIterator[int]:
    config = uvicorn.Config(app, http=protocol, ws="none", log_config=None, timeout_graceful_shutdown=1)
    server = Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
        listener.close()


async def answered(port: int) -> bytes:
    """All that a healthy client gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    data = await reader.read()
    writer.close()
    return data


async def ended(reader: asyncio.StreamReader) -> None:
    """Return once the server has ended the connection, in whatever way."""
    with suppress(ConnectionResetError):
        while await reader.read(100):
            pass


@pytest.mark.parametrize("sent", [b"", b"GET /live HTT", b"GET /live HTTP/1.1\r\nhost: x\r\nx-a: "])
async def test_a_head_that_never_ends_is_cut_and_others_are_served(api: Any, sent: bytes) -> None:
    async with served(api.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await answered(port)).startswith(b"HTTP/1.1 200")
        await ended(reader)
        writer.close()


async def test_a_second_request_of_a_connection_has_a_deadline_too(api: Any) -> None:
    async with served(api.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /liv")
        await ended(reader)
        writer.close()


async def test_a_running_request_is_not_cut_by_the_deadline_of_heads(make_api: Any) -> None:
    class Slow(ScriptedClient):
        async def _turn(self) -> None:
            await asyncio.sleep(0.3)

    engine = Slow(
        lambda request: [Output(request.request_id, "x", [1], None, "stop", usage=Usage(1, 0, 1))], ready=READY
    )
    async with served(make_api(engine=engine).app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + BODY)
        assert b"[DONE]" in await reader.readuntil(b"[DONE]")
        writer.close()


async def test_a_client_that_does_not_read_its_stream_is_cut_and_its_request_ended(make_api: Any) -> None:
    def endless(request: Any) -> Any:
        for count in range(10**6):
            yield Output(request.request_id, "x" * 100_000, [1], usage=Usage(1, 0, count))

    api = make_api(endless)
    async with served(api.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(HEAD + BODY)
        for _ in range(1000):
            if api.engine.aborted:
                break
            await asyncio.sleep(0.02)
        assert api.engine.aborted and (await answered(port)).startswith(b"HTTP/1.1 200")
        writer.close()
        reader.feed_eof()


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 200_000])
async def test_what_is_no_http_gets_an_error_of_the_same_shape(api: Any, head: bytes) -> None:
    async with served(api.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        answer = await reader.readuntil(b"}}")
        assert answer.startswith(b"HTTP/1.1 400")
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}
        writer.close()
