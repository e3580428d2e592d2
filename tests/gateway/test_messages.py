"""/v1/messages as Anthropic's clients use it: answers, streams, tools, structured answers, errors, counts, models."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from espalier.engine.errors import ContextOverflowError, EngineDiedError, EngineError
from espalier.engine.messages import Output, Usage
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.scripted_client import ScriptedClient, answer
from tests.gateway.answers import Whole
from tests.gateway.asgi_call import AsgiCall
from tests.gateway.part_script import tells

pytestmark = pytest.mark.anyio
PATH = "/v1/messages"
HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
VERSION = {"anthropic-version": "2023-06-01"}
TOOL: dict[str, Any] = {
    "name": "look_up",
    "description": "Looks things up.",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def ask(api: Any, messages: Any = HI, **more: Any) -> Any:
    return await api.post(PATH, **{"model": "tiny", "max_tokens": 50, "messages": messages, **more})


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, its form checked: each is named, and nothing follows the last."""
    *blocks, rest = text.split("\n\n")
    assert not rest
    events = []
    for block in blocks:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


async def test_an_answer_has_every_field_that_clients_read(api: Any) -> None:
    response = await ask(api)
    body = response.json()
    assert body["id"].startswith("msg_") and (body["type"], body["role"], body["model"]) == (
        "message",
        "assistant",
        "tiny",
    )
    assert body["content"] == [{"type": "text", "text": "Hello there"}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    prompt = len(api.engine.requests[0].token_ids)
    usage = body["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (prompt - 3, 2)
    assert usage["cache_creation_input_tokens"] == 1
    assert body["usage"]["output_tokens"] == 3 and body["espalier"]["cache"]["device_tokens"] == 2
    assert response.headers["request-id"] == response.headers["x-request-id"]


async def test_a_stream_is_named_events_and_nothing_else(api: Any) -> None:
    response = await ask(api, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    kinds = [event["type"] for event in events_of(response.text)]
    assert kinds == ["message_start", "content_block_start", *["content_block_delta"] * 3, "content_block_stop",
                     "message_delta", "message_stop"]  # fmt: skip


@pytest.mark.parametrize(
    "system", ["Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {"type": "x"}}]]
)
async def test_the_prompt_is_that_of_a_chat(api: Any, system: Any) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "1"}]}
    said = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I look."}, use]
    await ask(api, [*HI, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}], system=system)
    call = {"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    await api.post("/v1/chat/completions", messages=[
        {"role": "system", "content": "Be brief."}, *HI,
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "1"},
    ])  # fmt: skip
    first, second = api.engine.requests
    assert first.token_ids == second.token_ids


async def test_calls_come_as_tool_use(make_api: Any) -> None:
    api = make_api(tells(Whole("hm", "I look.", (("look_up", '{"a": 1}'), ("look_up", '{"a": 2}')))))
    body = (await ask(api, tools=[TOOL])).json()
    thinking, text, *uses = body["content"]
    assert thinking["thinking"] == "hm" and thinking["signature"] and text == {"type": "text", "text": "I look."}
    assert [(use["type"], use["name"], use["input"]) for use in uses] == [
        ("tool_use", "look_up", {"a": 1}),
        ("tool_use", "look_up", {"a": 2}),
    ]
    assert uses[0]["id"] != uses[1]["id"] and body["stop_reason"] == "tool_use"
    events = events_of((await ask(api, tools=[TOOL], stream=True)).text)
    begun = [event for event in events if event["type"] == "content_block_start"]
    assert [event["index"] for event in begun] == [0, 1, 2, 3] and begun[2]["content_block"]["input"] == {}
    deltas = [e["delta"]["partial_json"] for e in events if e.get("index") == 2 and e["type"] == "content_block_delta"]
    assert json.loads("".join(deltas)) == {"a": 1}
    # The same prompt as a chat with the same tools.
    function = {"name": TOOL["name"], "description": TOOL["description"], "parameters": TOOL["input_schema"]}
    await api.post("/v1/chat/completions", messages=HI, tools=[{"type": "function", "function": function}])
    assert api.engine.requests[0].token_ids == api.engine.requests[-1].token_ids


async def test_every_tool_choice_constrains_as_its_twin_of_chat_completions(api: Any) -> None:
    chat_tool = {"type": "function", "function": {"name": "look_up", "parameters": TOOL["input_schema"]}}
    named = {"type": "function", "function": {"name": "look_up"}}
    tool = {name: value for name, value in TOOL.items() if name != "description"}
    for ours, theirs in (("auto", "auto"), ("any", "required"), ("none", "none"), ("tool", named)):
        for is_single in (False, True) if ours != "none" else (False,):
            choice = {"type": ours} | ({"name": "look_up"} if ours == "tool" else {})
            choice |= {"disable_parallel_tool_use": True} if is_single else {}  # type: ignore[dict-item]
            assert (await ask(api, tools=[tool], tool_choice=choice)).status_code == 200
            await api.post(
                "/v1/chat/completions", messages=HI, tools=[chat_tool], tool_choice=theirs,
                parallel_tool_calls=not is_single, max_tokens=50,
            )  # fmt: skip
            first, second = api.engine.requests[-2:]
            assert first.params == second.params and first.token_ids == second.token_ids


async def test_a_structured_answer_constrains_as_its_twin_of_chat_completions(api: Any) -> None:
    assert (await ask(api, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})).status_code == 200
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    await api.post("/v1/chat/completions", messages=HI, response_format=format, max_tokens=50)
    first, second = api.engine.requests
    assert first.params == second.params and first.params.constraint is not None
    body = (await ask(api, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})).json()
    assert "required" in body["espalier"]["schema"]["enforced"]


async def test_sampling_parameters_reach_the_engine(api: Any) -> None:
    await ask(api, temperature=0.5, top_p=0.9, top_k=7, stop_sequences=["END"], max_tokens=9)
    params = api.engine.requests[0].params
    assert (params.temperature, params.top_p, params.top_k) == (0.5, 0.9, 7)
    assert (params.stop, params.max_tokens) == (("END",), 9)


async def test_a_stop_sequence_is_told(make_api: Any) -> None:
    def script(request: Any) -> Any:
        yield Output(request.request_id, "Hi", [1], finish_reason="stop", stop_reason="END", usage=Usage(1, 0, 1))

    body = (await ask(make_api(script), stop_sequences=["END"])).json()
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")


async def test_what_has_no_effect_here_is_accepted(api: Any) -> None:
    more: dict[str, Any] = {
        "metadata": {"user_id": "u"}, "service_tier": "auto", "thinking": {"type": "enabled", "budget_tokens": 1024},
        "cache_control": {"type": "ephemeral"}, "output_config": {"effort": "low"}, "container": None, "system": None,
    }  # fmt: skip
    assert (await ask(api, **more)).status_code == 200
    nulls = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": None}, "output_config": {"format": None}}
    assert (await ask(api, tools=[{**TOOL, "strict": None, "cache_control": None}], **nulls)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "kind", "named"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_request_error", "messages[0].role"),
        ({"model": "claude-9"}, 404, "not_found_error", "claude-9"),
        ({"temperature": 1.5}, 400, "invalid_request_error", "temperature"),
        ({"stop_sequences": ["x"] * 99}, 400, "invalid_request_error", "stop_sequences"),
        ({"container": "c"}, 400, "invalid_request_error", "container"),
        ({"nothing": 1}, 400, "invalid_request_error", "nothing"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, 400, "invalid_request_error", "tools[0]"),
        ({"tools": [{"name": "f"}]}, 400, "invalid_request_error", "input_schema"),
        ({"tools": [{**TOOL, "input_schema": {"type": "x"}}]}, 400, "invalid_request_error", "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, 400, "invalid_request_error", "tool_choice"),
        ({"output_config": {"format": {"type": "xml"}}}, 400, "invalid_request_error", "output_config"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}}},
            400, "invalid_request_error", "output_config.format.schema",
        ),
    ],
)  # fmt: skip
async def test_errors_are_told_in_anthropics_words(api: Any, body: Any, status: int, kind: str, named: str) -> None:
    response = await ask(api, **body)
    told = response.json()
    assert response.status_code == status and set(told) == {"type", "error", "request_id"} and told["type"] == "error"
    assert told["error"]["type"] == kind and set(told["error"]) == {"type", "message"}
    assert named in told["error"]["message"]
    assert told["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    assert not api.engine.requests


async def test_errors_of_the_edge_are_told_so_too(make_api: Any) -> None:
    api = make_api(keys=KeyRing((("ada", digest("k")),)))
    response = await ask(api)
    assert (response.status_code, response.json()["error"]["type"]) == (401, "authentication_error")
    response = await api.http.post(PATH, content=b"[", headers={"x-api-key": "k"})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    response = await api.http.get(PATH, headers={"x-api-key": "k"})
    assert (response.status_code, response.json()["type"]) == (405, "error")
    assert (await api.chat()).json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (EngineDiedError("it ended"), 503, "overloaded_error"),
        (ContextOverflowError("too long", param="messages"), 400, "invalid_request_error"),
        (EngineError("/root/secret.py"), 500, "api_error"),
    ],
)
async def test_an_engine_error_before_the_first_token_is_a_status(
    make_api: Any, failure: Exception, status: int, kind: str, stream: bool
) -> None:
    response = await ask(make_api(lambda request: [failure]), stream=stream)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert "secret" not in response.text


async def test_an_engine_error_in_the_middle_is_the_last_event(make_api: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]

    response = await ask(make_api(script), stream=True)
    last = events_of(response.text)[-1]
    assert last["type"] == "error" and last["error"] == {"type": "overloaded_error", "message": "it ended"}
    assert last["request_id"] == response.headers["request-id"]


async def test_an_engine_that_is_not_ready_is_an_overloaded_one(make_api: Any) -> None:
    response = await ask(make_api(engine=ScriptedClient(ready=None)))
    assert (response.status_code, response.json()["error"]["type"]) == (503, "overloaded_error")
    assert response.headers["retry-after"] == "1"


async def test_tokens_are_counted_as_the_answer_counts_them(api: Any) -> None:
    more = {"system": "Be brief.", "tools": [TOOL], "tool_choice": {"type": "auto"}}
    counted = (await api.post(f"{PATH}/count_tokens", model="tiny", messages=HI, **more)).json()
    usage = (await ask(api, **more)).json()["usage"]
    parts = "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
    assert counted == {"input_tokens": sum(usage[part] for part in parts)}


async def test_more_tokens_than_the_context_holds_can_be_counted(make_api: Any) -> None:
    api = make_api(max_context=64)
    messages = [{"role": "user", "content": "word " * 100}]
    assert (await api.post(f"{PATH}/count_tokens", messages=messages)).json()["input_tokens"] > 64
    response = await ask(api, messages)
    assert response.status_code == 400 and "context" in response.json()["error"]["message"]


async def test_models_are_told_in_anthropics_shape_to_its_clients_alone(api: Any) -> None:
    listed = (await api.http.get("/v1/models", headers=VERSION)).json()
    (card,) = listed["data"]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("tiny", "tiny", False)
    assert (card["type"], card["id"], card["display_name"]) == ("model", "tiny", "tiny")
    assert card["created_at"].endswith("Z") and card["max_input_tokens"] == 4096
    assert (await api.http.get("/v1/models/tiny", headers=VERSION)).json() == card
    assert (await api.http.get("/v1/models/other", headers=VERSION)).json()["error"]["type"] == "not_found_error"
    assert (await api.http.get("/v1/models")).json()["object"] == "list"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_message(make_api: Any, tokenizer: Any, stream: bool) -> None:
    api = make_api(tells(Whole(text="word " * 10_000), 1))
    body = {"max_tokens": 4000, "messages": HI, "stream": stream}
    async with AsgiCall(api.app, "POST", PATH, body) as call:
        if stream:
            await call.chunk()
        for _ in range(10_000):
            if api.engine.requests:
                break
            await asyncio.sleep(0.001)
    assert api.engine.requests
    assert api.engine.aborted == [request.request_id for request in api.engine.requests]


async def test_the_same_request_with_its_key_resumes_where_its_stream_broke(make_api: Any) -> None:
    api = make_api(answer([f"{at} " for at in range(20)]))
    body = {"max_tokens": 99, "messages": HI, "stream": True}
    frames: list[bytes] = []
    while True:
        headers = {"idempotency-key": "k1"} | ({"last-event-id": str(len(frames) - 1)} if frames else {})
        async with AsgiCall(api.app, "POST", PATH, body, headers) as call:
            more = [frame for frame in [await call.chunk() for _ in range(3)] if frame]
            frames += more
        if len(more) < 3:
            break
    assert [int(frame.split(b"\n")[0].removeprefix(b"id: ")) for frame in frames] == list(range(len(frames)))
    events = events_of("".join(frame.decode().split("\n", 1)[1] for frame in frames))
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == "".join(f"{at} " for at in range(20))
    assert len(api.engine.requests) == 1 and not api.engine.aborted


async def test_a_repeated_request_is_a_replay_and_another_body_a_conflict(api: Any) -> None:
    body = {"max_tokens": 99, "messages": HI}
    first, second = [(await api.http.post(PATH, json=body, headers={"idempotency-key": "k1"})).json() for _ in range(2)]
    assert first == second and len(api.engine.requests) == 1
    response = await api.http.post(PATH, json={**body, "max_tokens": 98}, headers={"idempotency-key": "k1"})
    assert response.status_code == 409 and response.json()["error"]["type"] == "invalid_request_error"
    response = await api.http.post(PATH, json=body, headers={"last-event-id": "3"})
    assert response.status_code == 409
