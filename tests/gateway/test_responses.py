"""/v1/responses: what an answer holds, what it continues, what is stored and found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response
from pydantic import TypeAdapter

from espalier.engine.errors import ContextOverflowError, EngineDiedError
from espalier.engine.messages import Output, TokenLogprob, TopLogprob, Usage
from espalier.gateway.scripted_client import answer
from tests.gateway.answers import Whole
from tests.gateway.asgi_call import events_of
from tests.gateway.part_script import tells, writes

pytestmark = pytest.mark.anyio
PARSER: TypeAdapter[Any] = TypeAdapter(Response)
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "description": "Looks things up.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "strict": True,
}
CALLS = tells(Whole("I look.", "", (("look_up", '{"a": 1}'),)))


@pytest.fixture
def api(make: Callable[..., Any]) -> Any:
    return make()


async def ask(api: Any, given: Any = "Hello", **more: Any) -> dict[str, Any]:
    response = await api.post("/v1/responses", input=given, **more)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    PARSER.validate_python(body)
    return body


async def refused(api: Any, **body: Any) -> tuple[int, str | None, str | None]:
    response = await api.post("/v1/responses", **body)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return response.status_code, error["param"], error["code"]


async def test_an_answer_has_every_field_that_clients_read(api: Any) -> None:
    body = await ask(api)
    assert body["id"].startswith("resp_") and (body["object"], body["status"]) == ("response", "completed")
    assert (body["temperature"], body["top_p"], body["presence_penalty"], body["frequency_penalty"]) == (0, 1, 0, 0)
    assert (body["top_logprobs"], body["truncation"], body["tool_choice"], body["tools"]) == (0, "disabled", "auto", [])
    assert (body["parallel_tool_calls"], body["background"], body["service_tier"]) == (True, False, "default")
    assert (body["store"], body["metadata"], body["text"]["format"]) == (True, {}, {"type": "text"})
    nulls = "incomplete_details previous_response_id instructions error reasoning max_output_tokens max_tool_calls "
    for name in (nulls + "safety_identifier prompt_cache_key").split():
        assert body[name] is None
    assert body["completed_at"] >= body["created_at"]
    prompt = len(api.engine.requests[0].token_ids)
    assert body["usage"] == {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + 3,
    }
    assert body["espalier"]["cache"]["device_tokens"] == 2
    (item,) = body["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed") and item["id"]
    assert item["content"] == [{"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}]


async def test_what_was_asked_is_echoed(api: Any) -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.", "max_output_tokens": 9, "max_tool_calls": 2, "metadata": {"a": "b"},
        "parallel_tool_calls": False, "reasoning": {"effort": "low", "summary": None}, "safety_identifier": "s",
        "prompt_cache_key": "k", "temperature": 0.5, "top_p": 0.9, "user": "u", "tools": [TOOL], "tool_choice": "none",
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "truncation": "disabled", "presence_penalty": 0.5,
    }  # fmt: skip
    body = await ask(api, **asked)
    for name, value in asked.items():
        if name == "reasoning":
            assert body[name]["effort"] == "low"
        else:
            assert body[name] == value


async def test_a_function_that_is_named_is_called_once_unless_several_calls_are_asked_for(api: Any) -> None:
    named = {"type": "function", "name": TOOL["name"]}
    for more, is_parallel in (({}, False), ({"parallel_tool_calls": True}, True)):
        body = await ask(api, tools=[TOOL], tool_choice=named, **more)
        assert body["parallel_tool_calls"] is is_parallel
    first, second = (request.params.constraint for request in api.engine.requests)
    assert first != second


async def test_null_means_absent_for_every_optional_parameter(api: Any) -> None:
    names = (
        "instructions previous_response_id conversation store background stream stream_options tools tool_choice text "
    )
    names += "include metadata truncation max_output_tokens temperature top_p reasoning user prompt service_tier model"
    await ask(api, **dict.fromkeys(names.split()))
    tool = {**TOOL, "strict": None, "description": None}
    for text in ({"format": None, "verbosity": None}, {"format": {"type": "text", "name": None}}):
        await ask(
            api, text=text, tools=[tool], reasoning={"effort": None}, stream_options={"include_obfuscation": None}
        )


async def test_a_stream_ends_with_the_response_that_is_stored(api: Any) -> None:
    response = await api.post("/v1/responses", input="Hi", stream=True)
    events = events_of(response.content)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    whole = events[-1]["response"]
    assert (await api.http.get(f"/v1/responses/{whole['id']}")).json() == whole


async def test_a_response_continues_the_previous_one_without_its_instructions(make: Any, tokenizer: Any) -> None:
    api = make(writes(tokenizer, "Hello there"))
    first = await ask(api, "One", instructions="Be brief.")
    await ask(api, "Two", previous_response_id=first["id"], instructions="Be long.")
    second = await ask(api, "Two", previous_response_id=first["id"])
    history = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Hello there"},
        {"role": "user", "content": "Two"},
    ]
    await api.post("/v1/chat/completions", messages=history)
    await api.post("/v1/chat/completions", messages=[{"role": "system", "content": "Be long."}, *history])
    _, long, plain, expected, expected_long = [request.token_ids for request in api.engine.requests]
    assert plain == expected and long == expected_long
    assert second["previous_response_id"] == first["id"]


async def test_responses_branch_where_they_continue_the_same_one(api: Any) -> None:
    first = await ask(api, "One")
    branches = [await ask(api, text, previous_response_id=first["id"]) for text in ("Two", "Three")]
    await ask(api, "Four", previous_response_id=branches[0]["id"])
    text = api.tokenizer.decode(api.engine.requests[-1].token_ids)
    assert "Two" in text and "Four" in text and "Three" not in text


async def test_a_call_and_its_output_are_items(make: Any) -> None:
    api = make(CALLS)
    first = await ask(api, "What is a?", tools=[TOOL])
    thought, call = first["output"]
    assert (thought["type"], thought["content"][0]["text"]) == ("reasoning", "I look.")
    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "look_up", {"a": 1})
    assert call["call_id"] != call["id"] and call["status"] == "completed"
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "1"}
    await ask(api, [output], previous_response_id=first["id"], tools=[TOOL])
    told = api.tokenizer.decode(api.engine.requests[-1].token_ids, skip_special=False)
    assert told.index("What is a?") < told.index("<tool_response>\n1\n")
    # The same, sent whole by a client that keeps its items itself, and as a chat.
    await ask(api, [{"role": "user", "content": "What is a?"}, thought, call, output], tools=[TOOL], store=False)
    function = {name: TOOL[name] for name in ("name", "description", "parameters", "strict")}
    made = {"id": call["call_id"], "type": "function", "function": {"name": "look_up", "arguments": call["arguments"]}}
    messages = [
        {"role": "user", "content": "What is a?"},
        {"role": "assistant", "reasoning_content": "I look.", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": call["call_id"], "content": "1"},
    ]
    await api.post("/v1/chat/completions", messages=messages, tools=[{"type": "function", "function": function}])
    assert api.engine.requests[-1].token_ids == api.engine.requests[-2].token_ids


async def test_what_was_generated_stays_as_it_was_token_by_token(make: Any, tokenizer: Any) -> None:
    # "Hello there", written in other tokens than the tokenizer would write it in.
    odd = [token for text in ("Hel", "lo ", "there") for token in tokenizer.encode(text)]
    assert odd != tokenizer.encode("Hello there")
    end = min(tokenizer.end_token_ids)
    api = make(lambda request: [Output(request.request_id, "Hello there", [*odd, end], finish_reason="stop")])
    first = await ask(api, "One")
    await ask(api, "Two", previous_response_id=first["id"])
    one, two = [request.token_ids for request in api.engine.requests]
    assert two[: len(one) + len(odd)] == [*one, *odd]


async def test_the_engine_is_told_whose_turn_it_is_and_what_waits_for_tools(make: Any) -> None:
    api = make(CALLS)
    first = await ask(api, tools=[TOOL])
    output = {"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "1"}
    for _ in range(2):
        await ask(api, [output], previous_response_id=first["id"], tools=[TOOL])
    one, two, branch = [request.session for request in api.engine.requests]
    assert one == two == f"/{first['espalier']['session_id']}" and branch not in (one, "")
    kinds = [type(note).__name__ for note in api.engine.notes]
    assert kinds == ["Hold", "Hold", "Fork", "Hold"]
    await api.http.delete(f"/v1/responses/{first['id']}")
    assert len(api.engine.notes) == 4  # others continue it


async def test_an_output_is_recorded_once(make: Any) -> None:
    api = make(CALLS)
    first = await ask(api, tools=[TOOL])
    output = {"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "1"}
    second = await ask(api, [output], previous_response_id=first["id"], tools=[TOOL])
    again = await ask(
        api, [output, {"role": "user", "content": "And?"}], previous_response_id=second["id"], tools=[TOOL]
    )
    assert api.tokenizer.decode(api.engine.requests[-1].token_ids, skip_special=False).count("<tool_response>\n1") == 1
    items = (await api.http.get(f"/v1/responses/{again['id']}/input_items")).json()["data"]
    assert [item["type"] for item in items] == ["message"]
    status, _, code = await refused(api, input=[{**output, "output": "2"}], previous_response_id=second["id"])
    assert (status, code) == (409, "tool_result_conflict")


async def test_an_output_of_a_call_that_was_never_made_is_refused(make: Any) -> None:
    api = make(CALLS)
    first = await ask(api, tools=[TOOL])
    output = [{"type": "function_call_output", "call_id": "call_never", "output": "1"}]
    for more in ({}, {"previous_response_id": first["id"]}):
        status, param, _ = await refused(api, input=output, **more)
        assert (status, param) == (400, "input[0].call_id")


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"previous_response_id": "resp_nothing"}, 400, "previous_response_id", "previous_response_not_found"),
        ({"previous_response_id": "x\r\ny"}, 400, "previous_response_id", "previous_response_not_found"),
        ({"previous_response_id": "r", "conversation": "c"}, 400, "previous_response_id", None),
        ({"conversation": "conv_nothing"}, 404, "conversation", "conversation_not_found"),
        ({"conversation": {"id": "conv_nothing"}}, 404, "conversation", "conversation_not_found"),
        ({"background": True, "store": False}, 400, "background", None),
        ({"model": "gpt-9"}, 404, "model", "model_not_found"),
        ({"input": []}, 400, "input", None),
        ({"input": [{"id": "msg_nothing"}]}, 400, "input[0].id", "item_not_found"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0].type", None),
        ({"tools": [{"type": "function", "name": "f", "colour": 1}]}, 400, "tools[0]", None),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, 400, "tool_choice", None),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "x"}}}}, 400, None, None),
        ({"prompt": {"id": "p"}}, 400, "prompt", "unsupported_parameter"),
        ({"nothing": 1}, 400, "nothing", "unknown_parameter"),
        ({"truncation": "some"}, 400, "truncation", None),
        ({"metadata": {"a": "b" * 513}}, 400, None, None),
        ({"metadata": {str(at): "" for at in range(17)}}, 400, None, None),
        ({"temperature": 3}, 400, "temperature", None),
        ({"max_output_tokens": 0}, 400, "max_output_tokens", None),
        ({"store": "yes"}, 400, "store", None),
    ],
)
async def test_what_is_refused_is_named(api: Any, body: Any, status: int, param: str | None, code: str | None) -> None:
    told = await refused(api, **{"input": "Hi", **body})
    assert told[0] == status and told[1] == (param or told[1]) and told[2] == (code or told[2])
    assert not api.engine.requests


async def test_structured_answers_and_named_tools_come_together(api: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    format = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    choice = {"type": "function", "name": "look_up"}
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look_up"}]}
    for tool_choice in (choice, allowed, "required", "auto"):
        body = await ask(api, tools=[TOOL], tool_choice=tool_choice, text={"format": format})
        assert body["text"]["format"] == format and body["tool_choice"] == tool_choice
    assert all(request.params.constraint is not None for request in api.engine.requests)


async def test_an_answer_says_its_turn_and_what_of_a_schema_is_enforced(make: Any, tokenizer: Any) -> None:
    api = make(writes(tokenizer, "Hello there"))
    first = await ask(api)
    second = await ask(api, "And?", previous_response_id=first["id"])
    for body in (first, second):
        said = body["espalier"]
        assert said["session_id"].startswith("chain_") and said["turn_id"].startswith("turn_") and said["lossless"]
    assert first["espalier"]["session_id"] == second["espalier"]["session_id"]
    said = (await ask(api, store=False))["espalier"]
    assert set(said) == {"cache"} and said["cache"]["missed"] is None
    format = {"type": "json_schema", "name": "x", "schema": {"type": "integer", "minimum": 3}}
    said = (await ask(api, store=False, text={"format": format}))["espalier"]
    assert "minimum" in said["schema"]["enforced"]


async def test_log_probabilities_come_where_they_are_asked_for(make: Any) -> None:
    def script(request: Any) -> Any:
        entry = TokenLogprob(70, -0.5, (TopLogprob(70, -0.5),))
        yield Output(request.request_id, "a", [70], [entry], "stop", usage=Usage(1, 0, 1))

    api = make(script)
    body = await ask(api, include=["message.output_text.logprobs"], top_logprobs=1)
    (entry,) = body["output"][0]["content"][0]["logprobs"]
    assert entry["logprob"] == -0.5 and len(entry["top_logprobs"]) == 1
    assert [request.params.logprobs for request in api.engine.requests] == [1]


async def test_what_is_not_stored_is_not_found(api: Any) -> None:
    body = await ask(api, store=False)
    unknown = await api.http.get("/v1/responses/resp_nothing")
    for response in (
        await api.http.get(f"/v1/responses/{body['id']}"),
        await api.http.get(f"/v1/responses/{body['id']}/input_items"),
        await api.http.delete(f"/v1/responses/{body['id']}"),
        await api.http.post(f"/v1/responses/{body['id']}/cancel"),
    ):
        assert response.status_code == 404 and response.content == unknown.content
    status, _, code = await refused(api, input="And?", previous_response_id=body["id"])
    assert (status, code) == (400, "previous_response_not_found")


async def test_a_deleted_response_is_not_found(api: Any) -> None:
    body = await ask(api)
    path = f"/v1/responses/{body['id']}"
    assert (await api.http.delete(path)).json() == {"id": body["id"], "object": "response", "deleted": True}
    assert (await api.http.get(path)).status_code == (await api.http.delete(path)).status_code == 404


async def test_a_response_that_others_continue_can_be_deleted(api: Any) -> None:
    first = await ask(api, "One")
    second = await ask(api, "Two", previous_response_id=first["id"])
    assert (await api.http.delete(f"/v1/responses/{first['id']}")).status_code == 200
    await ask(api, "Three", previous_response_id=second["id"])
    assert "One" in api.tokenizer.decode(api.engine.requests[-1].token_ids)


async def test_input_items_are_listed_in_pages(api: Any) -> None:
    body = await ask(api, [{"role": "user", "content": text} for text in "abc"])
    path = f"/v1/responses/{body['id']}/input_items"

    async def texts(query: str) -> tuple[list[str], Any]:
        page = (await api.http.get(path + query)).json()
        assert page["object"] == "list" and page["first_id"] == page["data"][0]["id"]
        return [item["content"][0]["text"] for item in page["data"]], page

    assert (await texts(""))[0] == ["c", "b", "a"]
    found, page = await texts("?limit=2&order=asc")
    assert (found, page["has_more"]) == (["a", "b"], True)
    found, page = await texts(f"?limit=2&order=asc&after={page['last_id']}")
    assert (found, page["has_more"]) == (["c"], False)
    for bad in ("?limit=0", "?limit=101", "?limit=x", "?order=up", "?after=nothing"):
        assert (await api.http.get(path + bad)).status_code == 400


async def test_an_item_of_a_stored_response_stands_for_itself(make: Any, tokenizer: Any) -> None:
    api = make(writes(tokenizer, "Hello there"))
    first = await ask(api, "One")
    (said,) = first["output"]
    (asked,) = (await api.http.get(f"/v1/responses/{first['id']}/input_items")).json()["data"]
    references = [{"type": "item_reference", "id": asked["id"]}, {"id": said["id"]}, {"role": "user", "content": "Two"}]
    await ask(api, references)
    await ask(api, "Two", previous_response_id=first["id"])
    assert api.engine.requests[-1].token_ids == api.engine.requests[-2].token_ids


async def test_a_cut_answer_is_incomplete_and_can_be_continued(api: Any) -> None:
    body = await ask(api, max_output_tokens=2)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][0]["status"] == "incomplete"
    await ask(api, "Go on.", previous_response_id=body["id"])


async def test_the_tokens_of_an_input_are_counted(api: Any) -> None:
    counted = (await api.post("/v1/responses/input_tokens", input="Hello", tools=[TOOL])).json()
    body = await ask(api, tools=[TOOL], store=False)
    assert counted == {"object": "response.input_tokens", "input_tokens": body["usage"]["input_tokens"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (EngineDiedError("it ended"), 503, "engine_died"),
        (ContextOverflowError("too long"), 400, "context_length_exceeded"),
    ],
)
async def test_an_engine_error_before_the_first_token_is_a_status(
    make: Any, failure: Exception, status: int, code: str, stream: bool
) -> None:
    told = await refused(make(lambda request: [failure]), input="Hi", stream=stream)
    assert (told[0], told[2]) == (status, code)


async def test_an_engine_error_in_the_middle_is_told_in_the_stream_and_stored(make: Any) -> None:
    api = make(
        lambda request: [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]
    )
    events = events_of((await api.post("/v1/responses", input="Hi", stream=True)).content)
    error, last = events[-2:]
    assert (error["type"], error["error"]["code"]) == ("error", "engine_died")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    stored = (await api.http.get(f"/v1/responses/{last['response']['id']}")).json()
    assert stored == last["response"]
    status, _, code = await refused(api, input="And?", previous_response_id=stored["id"])
    assert (status, code) == (400, "previous_response_not_complete")
    assert (await api.post("/v1/responses", input="Hi")).status_code == 503


async def test_a_server_without_a_store_says_so(make_api: Any) -> None:
    api = make_api()
    assert not (await ask(api))["store"]
    assert (await refused(api, input="Hi", store=True))[:2] == (400, "store")
    assert (await refused(api, input="Hi", background=True))[:2] == (400, "background")
    assert (await refused(api, input="Hi", previous_response_id="resp_1"))[2] == "previous_response_not_found"
    assert (await api.http.get("/v1/responses/resp_1")).status_code == 404
    assert (await api.post("/v1/conversations")).status_code == 404


async def test_the_oldest_turns_go_where_that_is_asked_for(make: Any, tokenizer: Any) -> None:
    api = make(writes(tokenizer, "Hello there"), max_context=64)
    first = await ask(api, "One " * 12, instructions="Be brief.")
    long = {"input": "Two " * 12, "instructions": "Be brief.", "previous_response_id": first["id"]}
    assert (await refused(api, **long))[2] == "context_length_exceeded"
    body = (await api.post("/v1/responses", **long, truncation="auto")).json()
    assert body["truncation"] == "auto" and body["espalier"]["truncation"]["dropped_messages"] == 2
    told = tokenizer.decode(api.engine.requests[-1].token_ids)
    assert "Be brief." in told and "Two" in told and "One" not in told
    # A server that truncates by itself says so, and can be told not to.
    api = make(writes(tokenizer, "Hello there"), max_context=64, overflow="truncate")
    body = (await api.post("/v1/responses", **long)).json()
    assert body["truncation"] == "auto"
    assert (await refused(api, **long, truncation="disabled"))[2] == "context_length_exceeded"


async def test_texts_that_fill_the_context_are_refused_by_length(make: Any) -> None:
    api = make(answer(["x"]), max_context=64)
    status, param, code = await refused(api, input="word " * 100)
    assert (status, param, code) == (400, "input", "context_length_exceeded")


def is_on_disk(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in (folder / "sessions").iterdir())


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 1, 2), (1, 0, 2)])
async def test_nothing_of_branches_that_were_deleted_is_left_on_disk(
    api: Any, tmp_path: Path, order: tuple[int, ...]
) -> None:
    first = await ask(api, "sesame")
    ids = [first["id"], *[(await ask(api, "two", previous_response_id=first["id"]))["id"] for _ in range(2)]]
    for number in order:
        assert is_on_disk(tmp_path, b"sesame")
        await api.http.delete(f"/v1/responses/{ids[number]}")
    assert not is_on_disk(tmp_path, b"sesame")
