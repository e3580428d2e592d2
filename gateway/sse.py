"""Server-sent events (WHATWG HTML, section 9.2): one write for each event, LF line ends, JSON in one `data:` line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.types import Send

from espalier.engine.errors import EngineError
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.log import Log

_LOG = Log("sse")
_ENCODER = msgspec.json.Encoder()
DONE = b"data: [DONE]\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def event(value: object) -> bytes:
    """One event. JSON escapes line ends, so no value can forge another event."""
    return b"data: " + _ENCODER.encode(value) + b"\n\n"


async def send_events(send: Send, events: AsyncGenerator[object, None], headers: list[tuple[bytes, bytes]]) -> None:
    """Send a stream. What goes wrong before the first event is raised, after it is an event of its own."""
    started = False

    async def write(body: bytes, more: bool = True) -> None:
        nonlocal started
        if not started:
            started = True
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    try:
        async with aclosing(events) as stream:
            async for value in stream:
                await write(event(value))
        await write(DONE)
    except (ApiError, EngineError) as error:
        if not started:
            raise
        told = from_engine(error) if isinstance(error, EngineError) else error
        _LOG.warning("stream_failed", code=told.code, status=told.status)
        await write(event(told.body()))
    await write(b"", more=False)
