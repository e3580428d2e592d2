"""What every request passes: ids, limits on headers, errors as JSON, one log line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from espalier.gateway import log
from espalier.gateway.auth import KeyRing
from espalier.gateway.edge import Edge

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    stream = io.StringIO()
    log.configure("debug", stream)
    logging.captureWarnings(False)
    yield stream
    root.handlers[:], root.level = kept, level


async def test_a_client_s_id_comes_back_and_none_gets_one(api: Any) -> None:
    response = await api.http.get("/live", headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    first, second = [(await api.http.get("/live")).headers["x-request-id"] for _ in range(2)]
    assert first != second and first.startswith("req_")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"a" * 2**20, b"a" * 128),
        (b"a\r\nset-cookie: x", b"aset-cookie:x"),
        ("ä\u00ff b".encode("latin-1"), b"b"),
        (b"data: {}\n\n", b"data:{}"),
    ],
)
async def test_an_id_is_cut_to_128_safe_characters(api: Any, given: bytes, kept: bytes) -> None:
    response = await api.http.get("/live", headers=[(b"x-request-id", given)])
    assert response.headers["x-request-id"].encode() == kept
    assert "set-cookie" not in response.headers


async def test_two_requests_of_one_id_are_two_requests(api: Any) -> None:
    for _ in range(2):
        body = {"messages": [{"role": "user", "content": "x"}]}
        response = await api.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "same"})
        assert response.headers["x-request-id"] == "same"
    first, second = api.engine.requests
    assert first.request_id != second.request_id


@pytest.mark.parametrize("headers", [{"x-big": "a" * 9000}, {f"x-{at}": "a" for at in range(1000)}])
async def test_too_many_or_too_long_headers_are_a_431(api: Any, headers: dict[str, str]) -> None:
    response = await api.http.get("/v1/models", headers=headers)
    assert response.status_code == 431 and response.json()["error"]["type"] == "invalid_request_error"


async def test_unknown_headers_of_clients_are_ignored(api: Any) -> None:
    headers = {"x-stainless-lang": "python", "anthropic-version": "2023-06-01", "x-session-affinity": "s"}
    assert (await api.http.get("/v1/models", headers=headers)).status_code == 200


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("/root/secret.py at 0x7f12")


async def test_a_bug_is_a_500_that_says_nothing_of_the_inside(lines: io.StringIO) -> None:
    transport = httpx.ASGITransport(Edge(failing, KeyRing()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/x")
    assert response.status_code == 500 and response.headers["x-should-retry"] == "false"
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in response.text and "0x" not in response.text and "Traceback" not in response.text
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert "secret.py" in told[0]["exception"] and told[0]["request_id"] == response.headers["x-request-id"]


async def test_a_request_is_one_line_without_prompt_or_key(api: Any, lines: io.StringIO) -> None:
    body = {"messages": [{"role": "user", "content": "a private matter"}]}
    headers = {"x-request-id": "r1", "x-api-key": "a private key"}
    await api.http.post("/v1/chat/completions", json=body, headers=headers)
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    (line,) = [line for line in written if line["event"] == "request"]
    assert (line["request_id"], line["method"], line["status"]) == ("r1", "POST", 200)
    assert line["path"] == "/v1/chat/completions" and line["ms"] >= 0
    assert "private" not in lines.getvalue()
