"""/v1/conversations: made, filled, continued by responses, taken apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.answers import Whole
from tests.gateway.part_script import tells, writes

pytestmark = pytest.mark.anyio
PATH = "/v1/conversations"
TOOL: dict[str, Any] = {"type": "function", "name": "look_up"}


@pytest.fixture
def api(make: Callable[..., Any]) -> Any:
    return make()


async def create(api: Any, *texts: str, **more: Any) -> str:
    items = [{"role": "user", "content": text} for text in texts]
    body = (await api.post(PATH, items=items, **more)).json()
    assert body["object"] == "conversation" and body["id"].startswith("conv_") and isinstance(body["created_at"], int)
    return str(body["id"])


async def texts(api: Any, conversation: str) -> list[str]:
    items = (await api.http.get(f"{PATH}/{conversation}/items?order=asc&limit=100")).json()["data"]
    return [item["content"][0]["text"] for item in items]


async def test_a_conversation_is_made_read_changed_and_deleted(api: Any) -> None:
    conversation = await create(api, metadata={"a": "b"})
    path = f"{PATH}/{conversation}"
    assert (await api.http.get(path)).json()["metadata"] == {"a": "b"}
    assert (await api.http.post(path, json={"metadata": {"c": "d"}})).json()["metadata"] == {"c": "d"}
    silent = await api.http.post(path, json={})
    assert (silent.status_code, silent.json()["error"]["param"]) == (400, "metadata")
    assert (await api.http.get(path)).json()["metadata"] == {"c": "d"}
    assert (await api.http.post(path, json={"metadata": None, "items": None})).json()["metadata"] == {}
    deleted = (await api.http.delete(path)).json()
    assert deleted == {"id": conversation, "deleted": True, "object": "conversation.deleted"}
    assert (await api.http.get(path)).status_code == (await api.http.delete(path)).status_code == 404


async def test_a_body_may_be_left_out(api: Any) -> None:
    assert (await api.http.post(PATH)).status_code == 200


async def test_responses_continue_a_conversation_and_become_its_items(make: Any, tokenizer: Any) -> None:
    api = make(writes(tokenizer, "Hello there"))
    conversation = await create(api, "One")
    for text in ("Two", "Three"):
        body = (await api.post("/v1/responses", input=text, conversation={"id": conversation})).json()
        assert body["conversation"] == {"id": conversation}
    assert await texts(api, conversation) == ["One", "Two", "Hello there", "Three", "Hello there"]
    history = [{"role": "user", "content": text} for text in ("One", "Two")]
    history += [{"role": "assistant", "content": "Hello there"}, {"role": "user", "content": "Three"}]
    await api.post("/v1/chat/completions", messages=history)
    assert api.engine.requests[-1].token_ids == api.engine.requests[-2].token_ids


async def test_items_are_added_listed_read_and_deleted(api: Any) -> None:
    conversation = await create(api)
    path = f"{PATH}/{conversation}/items"
    given = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    added = (await api.http.post(path, json={"items": given})).json()
    assert added["object"] == "list" and [item["role"] for item in added["data"]] == ["user", "assistant"]
    first, second = added["data"]
    assert (await api.http.get(f"{path}/{first['id']}")).json() == first
    listed = (await api.http.get(path)).json()
    assert listed["data"] == [second, first] and listed["first_id"] == second["id"] and not listed["has_more"]
    assert (await api.http.delete(f"{path}/{first['id']}")).json()["id"] == conversation
    assert (await api.http.get(path)).json()["data"] == [second]
    for method in (api.http.get, api.http.delete):
        assert (await method(f"{path}/{first['id']}")).status_code == 404


async def test_a_deleted_item_is_told_to_the_model_no_more(api: Any) -> None:
    conversation = await create(api, "One")
    body = (await api.post("/v1/responses", input="Two", conversation=conversation)).json()
    await api.post("/v1/responses", input="Three", conversation=conversation)
    items = (await api.http.get(f"{PATH}/{conversation}/items?order=asc")).json()["data"]
    for item in (items[1], body["output"][0]):
        await api.http.delete(f"{PATH}/{conversation}/items/{item['id']}")
    assert await texts(api, conversation) == ["One", "Three", "Hello there"]
    await api.post("/v1/responses", input="Four", conversation=conversation)
    told = api.tokenizer.decode(api.engine.requests[-1].token_ids)
    assert "One" in told and "Two" not in told and told.count("Hello there") == 1
    assert (await api.http.get(f"/v1/responses/{body['id']}")).json()["output"] == []


async def test_calls_are_answered_across_responses(make: Any) -> None:
    api = make(tells(Whole(calls=(("look_up", "{}"),))))
    conversation = await create(api, "a?")
    (call,) = (await api.post("/v1/responses", tools=[TOOL], conversation=conversation)).json()["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "1"}
    assert (await api.http.post(f"{PATH}/{conversation}/items", json={"items": [output]})).status_code == 200
    assert (await api.post("/v1/responses", tools=[TOOL], conversation=conversation)).status_code == 200
    never = {**output, "call_id": "never"}
    refused = await api.http.post(f"{PATH}/{conversation}/items", json={"items": [never]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "items[0].call_id")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ({"items": [{"role": "robot", "content": "x"}]}, "items[0].role"),
        ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0]"),
        ({"items": "x"}, "items"),
        ({"nothing": 1}, None),
        ({"metadata": {"a": 1}}, None),
    ],
)
async def test_what_is_refused_is_named(api: Any, body: Any, param: str | None) -> None:
    response = await api.post(PATH, **body)
    error = response.json()["error"]
    assert response.status_code == 400 and error["param"] == (param or error["param"])


async def test_an_unknown_conversation_is_a_404_for_every_route(api: Any) -> None:
    path = f"{PATH}/conv_nothing"
    item = {"items": [{"role": "user", "content": "x"}]}
    for response in (
        await api.http.get(path),
        await api.http.post(path, json={"metadata": {}}),
        await api.http.delete(path),
        await api.http.get(f"{path}/items"),
        await api.http.post(f"{path}/items", json=item),
        await api.http.get(f"{path}/items/msg_1"),
        await api.http.delete(f"{path}/items/msg_1"),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "conversation_not_found")


async def test_deleting_a_conversation_deletes_its_responses(api: Any) -> None:
    conversation = await create(api)
    body = (await api.post("/v1/responses", input="Hi", conversation=conversation)).json()
    await api.http.delete(f"{PATH}/{conversation}")
    assert (await api.http.get(f"/v1/responses/{body['id']}")).status_code == 404


async def test_deleting_a_response_leaves_what_it_said_in_its_conversation(api: Any) -> None:
    conversation = await create(api)
    first = (await api.post("/v1/responses", input="One", conversation=conversation)).json()
    await api.post("/v1/responses", input="Two", conversation=conversation)
    await api.http.delete(f"/v1/responses/{first['id']}")
    assert await texts(api, conversation) == ["One", "Hello there", "Two", "Hello there"]
    items = (await api.http.get(f"{PATH}/{conversation}/items?order=asc")).json()["data"]
    await api.http.delete(f"{PATH}/{conversation}/items/{items[0]['id']}")
    assert await texts(api, conversation) == ["Hello there", "Two", "Hello there"]


async def test_a_response_that_continues_one_of_a_conversation_is_none_of_it(api: Any) -> None:
    conversation = await create(api)
    first = (await api.post("/v1/responses", input="One", conversation=conversation)).json()
    second = (await api.post("/v1/responses", input="Two", previous_response_id=first["id"])).json()
    assert second["conversation"] is None and await texts(api, conversation) == ["One", "Hello there"]
    await api.post("/v1/responses", input="Three", previous_response_id=second["id"])
    told = api.tokenizer.decode(api.engine.requests[-1].token_ids)
    assert "One" in told and "Two" in told


@pytest.mark.parametrize("ends", [False, True])
async def test_a_deleted_conversation_goes_with_what_continues_it(api: Any, tmp_path: Path, ends: bool) -> None:
    conversation = await create(api, "sesame", metadata={"a": "sesame"})
    first = (await api.post("/v1/responses", input="One", conversation=conversation)).json()
    second = (await api.post("/v1/responses", input="Two", previous_response_id=first["id"])).json()
    deletions = [f"{PATH}/{conversation}", f"/v1/responses/{second['id']}"]
    for path in reversed(deletions) if ends else deletions:
        assert any(b"sesame" in file.read_bytes() for file in (tmp_path / "sessions").iterdir())
        assert (await api.http.delete(path)).status_code == 200
        if not ends and path == deletions[0]:
            assert (await api.http.get(f"/v1/responses/{first['id']}")).status_code == 404
            third = await api.post("/v1/responses", input="Three", previous_response_id=second["id"])
            assert "sesame" in api.tokenizer.decode(api.engine.requests[-1].token_ids)
            await api.http.delete(f"/v1/responses/{third.json()['id']}")
    assert not any(b"sesame" in file.read_bytes() for file in (tmp_path / "sessions").iterdir())


async def test_deleting_the_last_response_leaves_what_it_said_in_its_conversation_too(api: Any) -> None:
    conversation = await create(api)
    first = (await api.post("/v1/responses", input="One", conversation=conversation)).json()
    await api.http.delete(f"/v1/responses/{first['id']}")
    assert (await api.http.get(f"/v1/responses/{first['id']}")).status_code == 404
    assert await texts(api, conversation) == ["One", "Hello there"]
    await api.post("/v1/responses", input="Two", conversation=conversation)
    assert await texts(api, conversation) == ["One", "Hello there", "Two", "Hello there"]


async def test_items_that_are_deleted_at_once_are_all_gone(api: Any) -> None:
    conversation = await create(api, *"abcdef")
    path = f"{PATH}/{conversation}/items"
    items = (await api.http.get(f"{path}?order=asc")).json()["data"]
    gone = await asyncio.gather(*(api.http.delete(f"{path}/{item['id']}") for item in items[1:]))
    assert [response.status_code for response in gone] == [200] * 5
    assert await texts(api, conversation) == ["a"]


async def test_an_output_that_is_added_twice_at_once_is_recorded_once(api: Any) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"}
    conversation = (await api.post(PATH, items=[call])).json()["id"]
    result = {"type": "function_call_output", "call_id": "c1", "output": "7"}
    path = f"{PATH}/{conversation}/items"
    await asyncio.gather(*(api.http.post(path, json={"items": [result]}) for _ in range(4)))
    listed = (await api.http.get(path)).json()["data"]
    assert [item["type"] for item in listed] == ["function_call_output", "function_call"]
