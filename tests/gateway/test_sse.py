"""Events: one write each, nothing can forge one, an error is the last."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from espalier.engine.errors import EngineDiedError
from espalier.gateway.errors import ApiError
from espalier.gateway.sse import event, send_events

pytestmark = pytest.mark.anyio


class Sink:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.sent.append(message)


async def stream(*items: Any) -> AsyncGenerator[Any, None]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


@pytest.mark.parametrize("text", ["\n\ndata: x", "\r\r", "\u2028\u0085", "\x00"])
def test_no_value_ends_an_event(text: str) -> None:
    data = event({"a": text})
    assert data.startswith(b"data: ") and data.endswith(b"\n\n")
    assert data.count(b"\n") == 2 and b"\r" not in data
    assert json.loads(data[6:]) == {"a": text}


async def test_each_event_is_one_write() -> None:
    sink = Sink()
    await send_events(sink, stream({"a": 1}, {"b": 2}), [(b"x-more", b"1")])
    start, *bodies = sink.sent
    assert start["status"] == 200 and (b"x-more", b"1") in start["headers"]
    assert dict(start["headers"])[b"cache-control"] == b"no-cache"
    assert [body["body"] for body in bodies] == [b'data: {"a":1}\n\n', b'data: {"b":2}\n\n', b"data: [DONE]\n\n", b""]
    assert [body["more_body"] for body in bodies] == [True, True, True, False]


@pytest.mark.parametrize("error", [EngineDiedError("it ended"), ApiError(504, "late")])
async def test_an_error_before_the_first_event_is_raised(error: Exception) -> None:
    sink = Sink()
    with pytest.raises(type(error)):
        await send_events(sink, stream(error), [])
    assert not sink.sent


async def test_an_error_after_it_is_the_last_event_and_there_is_no_done() -> None:
    sink = Sink()
    await send_events(sink, stream({"a": 1}, EngineDiedError("it ended")), [])
    *_, error, end = sink.sent
    assert json.loads(error["body"][6:])["error"]["code"] == "engine_died" and not end["more_body"]
    assert not any(b"[DONE]" in message.get("body", b"") for message in sink.sent)


async def test_a_reader_that_leaves_closes_the_source() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[Any]:
        try:
            while True:
                yield {"a": 1}
        finally:
            closed.append(True)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await send_events(send, source(), [])  # type: ignore[arg-type]
    assert closed == [True]
