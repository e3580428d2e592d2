"""Server-sent events (WHATWG HTML, section 9.2): one write for each event, LF line ends, JSON in one `data:` line.

How an API writes its events, its errors and its end is a `Form`. Events of a log are written already; they get an id.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Send

from espalier.engine.errors import EngineError
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.event_log import GapError
from espalier.gateway.log import Log

_LOG = Log("sse")
_ENCODER = msgspec.json.Encoder()
DONE = b"data: [DONE]\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def event(value: object, name: str | None = None) -> bytes:
    """One event, named where its API names them. JSON escapes line ends, so no value can forge another event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + _ENCODER.encode(value) + b"\n\n"


@dataclass(frozen=True, slots=True)
class Form:
    """How a stream is written: an event, what went wrong in the middle of it, and what ends it."""

    write: Callable[[Any], bytes]
    fail: Callable[[ApiError], bytes]
    end: bytes


def _body(error: ApiError) -> bytes:
    return event(error.body())


UNNAMED = Form(event, _body, DONE)
"""As chat completions are written."""


async def logged(events: AsyncGenerator[tuple[int, bytes], None]) -> AsyncGenerator[bytes, None]:
    """The events of a log, each with its number as its id. Raises ApiError where they begin too early."""
    try:
        async with aclosing(events) as numbered:
            async for number, data in numbered:
                yield b"id: %d\n" % number + data
    except GapError as error:
        raise ApiError(400, str(error), code="events_not_kept") from None


def _as_it_is(data: bytes) -> bytes:
    return data


LOGGED = Form(_as_it_is, _body, DONE)
"""As the events of a log are sent."""


async def send_events(
    send: Send, events: AsyncGenerator[Any, None], headers: list[tuple[bytes, bytes]], form: Form = UNNAMED
) -> None:
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
                await write(form.write(value))
        if form.end:
            await write(form.end)
    except (ApiError, EngineError) as error:
        if not started:
            raise
        told = from_engine(error) if isinstance(error, EngineError) else error
        _LOG.warning("stream_failed", code=told.code, status=told.status)
        await write(form.fail(told))
    await write(b"", more=False)
