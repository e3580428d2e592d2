"""Bodies within bounds, and what a client's going away ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from espalier.gateway import connection
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.edge import DisconnectedError
from espalier.gateway.errors import ApiError
from espalier.gateway.scripted_client import READY, ScriptedClient, answer

pytestmark = pytest.mark.anyio
Event = dict[str, Any]


def request(*events: Event, length: int | None = None) -> Request:
    """A request whose body comes as these events, and then nothing more."""
    queue = iter(events)

    async def receive() -> Event:
        for event in queue:
            return event
        await asyncio.Event().wait()
        raise AssertionError

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def part(data: bytes, more: bool = True) -> Event:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_comes_in_parts() -> None:
    assert await read_body(request(part(b"ab"), part(b"c", more=False)), 3) == b"abc"


async def test_a_length_over_the_bound_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ApiError) as caught:
        await read_body(request(length=101), 100)
    assert caught.value.status == 413 and "max_body_bytes" in caught.value.message


async def test_a_body_without_a_length_is_refused_at_the_bound() -> None:
    with pytest.raises(ApiError) as caught:
        await read_body(request(*[part(b"x" * 60)] * 1000), 100)
    assert caught.value.status == 413 and caught.value.headers["connection"] == "close"


async def test_a_body_that_never_ends_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BODY_TIMEOUT_S", 0.01)
    with pytest.raises(ApiError) as caught:
        await read_body(request(part(b"{")), 100)
    assert caught.value.status == 408


async def test_a_client_that_leaves_while_it_sends_gets_no_answer() -> None:
    with pytest.raises(DisconnectedError):
        await read_body(request(part(b"{"), {"type": "http.disconnect"}), 100)


async def test_work_that_ends_gives_its_value_or_its_error() -> None:
    async def work(value: int) -> int:
        return 1 // value

    assert await while_connected(request().receive, work(1)) == 1
    with pytest.raises(ZeroDivisionError):
        await while_connected(request().receive, work(0))


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until a condition holds; tokenizing takes a thread, so this takes a moment."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to hold")


async def call(api: Any, body: Event, left: asyncio.Event) -> list[Event]:
    """Send a request to the application that is cut when `left` is set; returns what was sent back until then."""
    events, sent = iter([part(json.dumps(body).encode(), more=False)]), []

    async def receive() -> Event:
        for event in events:
            return event
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(event: Event) -> None:
        sent.append(event)

    path = "/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await api.app({**scope, "root_path": "", "headers": []}, receive, send)
    return sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("tokens", [0, 1, 5])
async def test_leaving_aborts_what_runs_wherever_it_is(make_api: Any, stream: bool, n: int, tokens: int) -> None:
    gate = asyncio.Semaphore(0)
    api = make_api(engine=ScriptedClient(answer(["x"] * 100), ready=READY, gate=gate))
    left = asyncio.Event()
    body = {"messages": [{"role": "user", "content": "Hi"}], "n": n, "stream": stream}
    calling = asyncio.create_task(call(api, body, left))
    await until(lambda: len(api.engine.requests) == n)
    for _ in range(tokens):
        gate.release()
    await until(gate.locked)
    left.set()
    sent = await calling
    assert sorted(api.engine.aborted) == sorted(request.request_id for request in api.engine.requests)
    assert bool(sent) <= stream


@pytest.mark.parametrize("stream", [False, True])
async def test_a_late_answer_is_aborted_and_says_the_limit(make_api: Any, stream: bool) -> None:
    class Slow(ScriptedClient):
        async def abort(self, request_id: str) -> None:
            gate.release()  # the engine's next step
            await super().abort(request_id)

    gate = asyncio.Semaphore(0)
    engine = Slow(answer(["x"] * 9), ready=READY, gate=gate)
    response = await make_api(engine=engine, request_timeout_s=0.01).chat(stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "request_timeout")
    assert "request_timeout_s" in response.json()["error"]["message"] and len(engine.aborted) == 1
