"""What `prompt_cache_key` and `prompt_cache_retention` make of a request to the engine, on both of OpenAI's APIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from espalier.engine.messages import Generate, Hold, Retention
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.prompt_cache import DAY_S, PromptCache
from espalier.gateway.session_lease import session_key
from espalier.sessions import Sessions
from espalier.sessions.wait import LEVELS
from tests.gateway.answers import Whole
from tests.gateway.conftest import Api
from tests.gateway.part_script import tells
from tests.gateway.test_chat_tools import TOOLS

pytestmark = pytest.mark.anyio

CALLS = tells(Whole("", "", (("now", "{}"),)))
HI = [{"role": "user", "content": "Hi"}]
WAYS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/responses": {"input": "Hi", "store": False},
}


async def engine_request(api: Api, path: str, **more: Any) -> Generate:
    answered = await api.post(path, **WAYS[path], **more)
    assert answered.status_code == 200, answered.text
    return api.engine.requests[-1]


@pytest.mark.parametrize("path", WAYS)
async def test_without_either_nothing_is_wished(make: Callable[..., Api], path: str) -> None:
    asked = await engine_request(make(), path, prompt_cache_key=None, prompt_cache_retention=None)
    assert (asked.session, asked.is_group, asked.retention) == ("", False, Retention())


@pytest.mark.parametrize("path", WAYS)
async def test_a_key_names_a_group_of_its_tenants_requests(make: Callable[..., Api], path: str) -> None:
    api = make(keys=KeyRing((("a", digest("ka")), ("b", digest("kb")))))
    names: list[str] = []
    for key in ("ka", "kb", "ka"):
        body = WAYS[path] | {"prompt_cache_key": "app"}
        assert (await api.http.post(path, json=body, headers={"Authorization": f"Bearer {key}"})).status_code == 200
        names.append(api.engine.requests[-1].session)
    assert names[0] == names[2] != names[1] and all(request.is_group for request in api.engine.requests)


@pytest.mark.parametrize("key", ["sess_1", "/sess_1", "a/sess_1", "conv_1"])
def test_no_key_makes_the_name_of_a_session(key: str) -> None:
    tenant, _, rest = PromptCache(key).group("a").partition("/")
    assert tenant == "a" and rest == f"/{key}" and "/" not in session_key("a", "sess_1").partition("/")[2]


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("in_memory", Retention(to_disk=False)),
        ("in-memory", Retention(to_disk=False)),
        ("24h", Retention(keep_s=DAY_S)),
    ],
)
async def test_retention_reaches_the_engine(make: Callable[..., Api], path: str, told: str, wanted: Retention) -> None:
    asked = await engine_request(make(), path, prompt_cache_retention=told)
    assert (asked.retention, asked.session) == (wanted, "")


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("wrong", ["1h", "", "IN_MEMORY", 24, ["24h"]])
async def test_another_retention_is_refused_by_name(make: Callable[..., Api], path: str, wrong: Any) -> None:
    answered = await make().post(path, **WAYS[path], prompt_cache_retention=wrong)
    assert answered.status_code == 400 and answered.json()["error"]["param"] == "prompt_cache_retention"


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("wrong", ["k" * 513, 1, {}])
async def test_another_key_is_refused_by_name(make: Callable[..., Api], path: str, wrong: Any) -> None:
    answered = await make().post(path, **WAYS[path], prompt_cache_key=wrong)
    assert answered.status_code == 400 and answered.json()["error"]["param"] == "prompt_cache_key"


async def test_a_session_is_what_holds_the_state_of_its_turns(make: Callable[..., Api]) -> None:
    api, wishes = make(), {"prompt_cache_key": "k", "prompt_cache_retention": "24h"}
    await api.chat("Hi", session_id="s", **wishes)
    await api.post("/v1/responses", input="Hi", **wishes)
    for request, kind in zip(api.engine.requests, ("sess", "chain"), strict=True):
        assert request.session.partition("/")[2].startswith(kind) and not request.is_group
        assert request.retention == Retention(keep_s=DAY_S)


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_groups_state_is_held_while_tools_run(make: Callable[..., Api], path: str, stream: bool) -> None:
    api = make(CALLS)
    tools = TOOLS if "chat" in path else [{"type": "function", "name": "now"}]
    await api.post(path, **WAYS[path], tools=tools, prompt_cache_key="k", stream=stream)
    assert api.engine.notes == [Hold(api.engine.requests[0].session)]


async def test_it_is_held_for_as_long_as_sessions_have_learnt(make: Callable[..., Api], sessions: Sessions) -> None:
    api = make(CALLS)
    first = (await api.chat("Hi", session_id="s", tools=TOOLS)).json()
    result = {"role": "tool", "tool_call_id": first["choices"][0]["message"]["tool_calls"][0]["id"], "content": "noon"}
    answered = await api.post("/v1/chat/completions", messages=[result], session_id="s", tools=TOOLS)
    assert answered.status_code == 200, answered.text
    await api.chat("Hi", prompt_cache_key="k", tools=TOOLS)
    held = api.engine.notes[-1]
    assert isinstance(held, Hold) and held.session == api.engine.requests[-1].session
    assert len(held.waits_s) == len(LEVELS)


@pytest.mark.parametrize("told", ["in_memory", "in-memory", "24h"])
async def test_a_response_echoes_what_is_used(make: Callable[..., Api], told: str) -> None:
    body = (await make().post("/v1/responses", input="Hi", prompt_cache_key="k", prompt_cache_retention=told)).json()
    assert (body["prompt_cache_key"], body["prompt_cache_retention"]) == ("k", told.replace("-", "_"))
