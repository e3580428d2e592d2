"""Two tenants' responses and conversations: what is another's is told of as what does not exist (A03, A05)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from espalier.gateway.auth import KeyRing, digest

pytestmark = pytest.mark.anyio
KEYS = KeyRing((("ada", digest("key of ada")), ("bob", digest("key of bob"))))
ITEM = {"items": [{"role": "user", "content": "x"}]}
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/responses/{response}", None),
    ("GET", "/v1/responses/{response}?stream=true", None),
    ("GET", "/v1/responses/{response}/input_items", None),
    ("POST", "/v1/responses/{response}/cancel", None),
    ("DELETE", "/v1/responses/{response}", None),
    ("POST", "/v1/responses", {"input": "x", "previous_response_id": "{response}"}),
    ("POST", "/v1/responses", {"input": "x", "conversation": "{conversation}"}),
    ("POST", "/v1/responses", {"input": [{"type": "item_reference", "id": "{item}"}]}),
    ("GET", "/v1/conversations/{conversation}", None),
    ("POST", "/v1/conversations/{conversation}", {"metadata": {}}),
    ("DELETE", "/v1/conversations/{conversation}", None),
    ("GET", "/v1/conversations/{conversation}/items", None),
    ("POST", "/v1/conversations/{conversation}/items", ITEM),
    ("GET", "/v1/conversations/{conversation}/items/{item}", None),
    ("DELETE", "/v1/conversations/{conversation}/items/{item}", None),
    ("GET", "/v1/responses/{turn}", None),
    ("POST", "/v1/responses", {"input": "x", "previous_response_id": "{turn}"}),
]


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**ids)
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    return [filled(one, ids) for one in value] if isinstance(value, list) else value


async def send(api: Any, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    response: httpx.Response = await api.http.request(
        method, path, json=body, headers={"authorization": f"Bearer key of {key}"}
    )
    return response


@pytest.fixture
def api(make: Callable[..., Any]) -> Any:
    return make(keys=KEYS)


async def made_by_ada(api: Any, sessions: Any) -> dict[str, str]:
    conversation = (await send(api, "ada", "POST", "/v1/conversations")).json()["id"]
    body = (await send(api, "ada", "POST", "/v1/responses", {"input": "Hi", "conversation": conversation})).json()
    turn = await sessions.turn("ada", body["id"])
    return {"conversation": conversation, "response": body["id"], "item": body["output"][0]["id"], "turn": turn.id}


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_what_is_another_tenants_is_as_unknown_as_what_does_not_exist(
    api: Any, sessions: Any, method: str, path: str, body: Any
) -> None:
    ids = await made_by_ada(api, sessions)
    unknown = {name: f"{value.partition('_')[0]}_{'0' * 32}" for name, value in ids.items()}
    unknown["item"] += "_1"
    theirs = await send(api, "bob", method, filled(path, ids), filled(body, ids))
    nobodys = await send(api, "bob", method, filled(path, unknown), filled(body, unknown))
    assert theirs.status_code in (400, 404) and theirs.content == nobodys.content
    still = (await send(api, "ada", "GET", f"/v1/responses/{ids['response']}")).json()
    assert still["status"] == "completed"
    items = (await send(api, "ada", "GET", f"/v1/conversations/{ids['conversation']}/items")).json()["data"]
    assert len(items) == 2


async def test_every_route_needs_a_key(api: Any, sessions: Any) -> None:
    ids = await made_by_ada(api, sessions)
    for method, path, body in ROUTES:
        response = await api.http.request(method, filled(path, ids), json=filled(body, ids))
        assert response.status_code == 401
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses/input_tokens"):
        assert (await api.http.post(path, json={})).status_code == 401


async def test_keys_of_two_tenants_are_two_keys(api: Any) -> None:
    bodies = []
    for key in ("ada", "bob"):
        headers = {"authorization": f"Bearer key of {key}", "idempotency-key": "same"}
        bodies.append((await api.http.post("/v1/responses", json={"input": "Hi"}, headers=headers)).json())
    assert bodies[0]["id"] != bodies[1]["id"] and len(api.engine.requests) == 2
    assert [request.tenant for request in api.engine.requests] == ["ada", "bob"]


async def test_the_engine_is_told_whose_prefix_it_is(api: Any) -> None:
    for path, body in (
        ("/v1/responses", {"input": "Hi", "cache_salt": "s"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, "cache_salt": "s"}),
    ):
        await send(api, "bob", "POST", path, body)
    assert [(request.tenant, request.cache_salt) for request in api.engine.requests] == [("bob", "s")] * 2
