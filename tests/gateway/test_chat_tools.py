"""Tools and structured answers on chat completions: what is asked of the engine, and what the answer shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from espalier.engine.tokenizer import Tokenizer
from tests.gateway.conftest import Api
from tests.gateway.said import says
from tests.gateway.test_chat_completions import events

pytestmark = pytest.mark.anyio

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
NOW = {"type": "function", "function": {"name": "now"}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def tool(name: str, parameters: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, **more} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": function}


TOOLS = [
    tool(
        "get_weather",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
        description="The weather of a city.",
    ),
    tool("now"),
]


@pytest.fixture
def saying(make_api: Callable[..., Api], tokenizer: Tokenizer) -> Callable[..., Api]:
    """Makes an application whose model says these texts."""

    def make(*texts: str, budget: int | None = None, **options: Any) -> Api:
        return make_api(says(tokenizer, *texts, budget=budget), **options)

    return make


def is_said(response: httpx.Response) -> bool:
    """Whether the grammar of the request allows what the model says."""
    is_right: bool = response.status_code == 200
    assert is_right or response.json()["error"]["param"] == "said", response.text
    return is_right


async def test_a_call_is_answered_with_its_arguments_as_text(saying: Any) -> None:
    body = (await saying(CALL).chat(tools=TOOLS)).json()
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function" and call["id"].startswith("call_")
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo", "days": 3}'}
    assert body["espalier"]["schema"]["enforced"] == [
        "additionalProperties", "minimum", "properties", "required", "type",
    ]  # fmt: skip


async def test_text_may_come_before_calls_of_which_there_may_be_several(saying: Any) -> None:
    message = (await saying(f"Let me see.\n{CALL}\n{OTHER}").chat(tools=TOOLS)).json()["choices"][0]["message"]
    assert message["content"] == "Let me see."
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["get_weather", "now"]
    assert len({call["id"] for call in message["tool_calls"]}) == 2


async def test_without_a_call_the_answer_is_text(saying: Any) -> None:
    choice = (await saying("It rains.").chat(tools=TOOLS)).json()["choices"][0]
    assert choice["finish_reason"] == "stop" and choice["message"]["content"] == "It rains."
    assert "tool_calls" not in choice["message"]


async def test_a_streamed_call_says_its_id_and_name_once(saying: Any) -> None:
    chunks = events(await saying(f"Well.\n{CALL}\n{OTHER}").chat(tools=TOOLS, stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant" and not any("role" in delta for delta in deltas[1:])
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    for index, name, arguments in ((0, "get_weather", '{"city": "Oslo", "days": 3}'), (1, "now", "{}")):
        first, *rest = [call for call in calls if call["index"] == index]
        assert set(first) == {"index", "id", "type", "function"} and first["function"] == {
            "name": name,
            "arguments": "",
        }
        assert all(set(call) == {"index", "function"} and set(call["function"]) == {"arguments"} for call in rest)
        assert "".join(call["function"]["arguments"] for call in rest) == arguments
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert "".join(delta.get("content", "") for delta in deltas) == "Well."


async def test_a_call_is_said_to_be_complete_before_the_answer_ends(saying: Any) -> None:
    chunks = events(await saying(f"{CALL}\n{OTHER}").chat(tools=TOOLS, stream=True))
    done = [at for at, chunk in enumerate(chunks) if "completed_call" in chunk.get("espalier", {})]
    ids = [
        call["id"] for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ()) if "id" in call
    ]
    assert [chunks[at]["espalier"]["completed_call"] for at in done] == ids
    begun = [at for at, chunk in enumerate(chunks) if "id" in str(chunk["choices"][0]["delta"].get("tool_calls"))]
    assert done[0] < begun[1] < done[1] < len(chunks) - 1


async def test_a_call_that_the_budget_closed_is_never_said_to_be_complete(saying: Any) -> None:
    api = saying(CALL, budget=12)
    choice = (await api.chat(tools=TOOLS)).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    arguments = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
    assert isinstance(arguments["city"], str) and arguments["city"] != "Oslo"
    chunks = events(await saying(CALL, budget=12).chat(tools=TOOLS, stream=True))
    assert not any("completed_call" in chunk.get("espalier", {}) for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("text", "more", "allowed"),
    [
        ("Hello", {"tool_choice": "required"}, False),
        (CALL, {"tool_choice": "required"}, True),
        (CALL, {"tool_choice": NOW}, False),
        (OTHER, {"tool_choice": NOW}, True),
        (CALL, {"tool_choice": "none"}, False),
        ("Hello", {"tool_choice": "none"}, True),
        (f"{CALL}\n{OTHER}", {"parallel_tool_calls": False}, False),
        (f"{CALL}\n{OTHER}", {"parallel_tool_calls": True}, True),
        (f"{CALL}\n{OTHER}", {"tool_choice": "required"}, True),
        (f"{OTHER}\n{OTHER}", {"tool_choice": NOW}, False),
        (f"{OTHER}\n{OTHER}", {"tool_choice": NOW, "parallel_tool_calls": None}, False),
        (f"{OTHER}\n{OTHER}", {"tool_choice": NOW, "parallel_tool_calls": True}, True),
        (CALL.replace("get_weather", "get_whether"), {}, False),
        (CALL.replace("3", "0"), {}, False),
        (CALL.replace("days", "nights"), {}, False),
        (f"{CALL} and so on", {}, False),
    ],
)
async def test_what_may_be_said_is_what_was_asked_for(saying: Any, text: str, more: Any, allowed: bool) -> None:
    assert is_said(await saying(text).chat(tools=TOOLS, **more)) == allowed


async def test_allowed_tools_narrow_what_may_be_called(saying: Any) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert (await saying(OTHER).chat(tools=TOOLS, tool_choice=choice)).status_code == 200
    assert not is_said(await saying(CALL).chat(tools=TOOLS, tool_choice=choice))


async def test_beside_tools_an_answer_is_calls_or_what_the_schema_says(saying: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    text = '{"name": "Ada", "age": 36}'
    message = (await saying(text).chat(tools=TOOLS, response_format=form)).json()["choices"][0]["message"]
    assert message["content"] == text and "tool_calls" not in message
    message = (await saying(CALL).chat(tools=TOOLS, response_format=form)).json()["choices"][0]["message"]
    assert message["content"] is None and message["tool_calls"][0]["function"]["name"] == "get_weather"
    assert not is_said(await saying("Hello").chat(tools=TOOLS, response_format=form))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": PERSON}}}, None),
        ({"response_format": {"type": "json_object"}}, '{"any": [1, 2]}'),
        ({"response_format": {"type": "json_object", "schema": None}}, '{"any": [1, 2]}'),
        ({"response_format": {"type": "json_object", "schema": PERSON}}, None),
        ({"structured_outputs": {"json": PERSON}}, None),
        ({"structured_outputs": {"json": json.dumps(PERSON)}}, None),
        ({"structured_outputs": {"json_object": True}}, "{}"),
        ({"structured_outputs": {"regex": "[a-c]+[0-9]"}}, "abc7"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "no"),
        ({"guided_json": PERSON}, None),
        ({"guided_regex": "[a-c]+[0-9]"}, "abc7"),
        ({"guided_choice": ["yes", "no"]}, "yes"),
        ({"regex": "[a-c]+[0-9]"}, "c0"),
    ],
)
async def test_each_way_to_ask_for_a_form_of_answer_is_kept(saying: Any, asked: Any, text: str | None) -> None:
    said = text or '{"name": "Ada", "age": 36}'
    response = await saying(said).chat(**asked)
    assert response.json()["choices"][0]["message"]["content"] == said
    chunks = events(await saying(said).chat(**asked, stream=True))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == said
    assert not is_said(await saying("Well, no").chat(**asked))
    completion = await saying(said).complete(**asked)
    assert completion.json()["choices"][0]["text"] == said


async def test_text_is_no_form(saying: Any) -> None:
    api = saying("Hello")
    for asked in ({"type": "text"}, None):
        assert (await api.chat(response_format=asked)).status_code == 200
    assert all(request.params.constraint is None for request in api.engine.requests)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object", "schema": 5}}, "response_format.schema"),
        ({"response_format": {"type": "json_object", "json_schema": {"schema": {}}}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}, "strict": True}},
            "response_format.strict",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "regex": "a"}}},
            "response_format.json_schema.regex",
        ),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"response_format": {"type": []}}, "response_format.type"),
        ({"structured_outputs": {"grammar": "root ::= a"}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"whitespace_pattern": " "}}, "structured_outputs"),
        ({"regex": "a", "guided_choice": ["b"]}, "regex"),
        ({"ebnf": "root ::= a"}, "ebnf"),
        ({"guided_grammar": "root ::= a"}, "guided_grammar"),
        ({"tools": [tool("a"), tool("a")]}, "tools[1]"),
        ({"tools": [tool("a b")]}, "tools[0]"),
        ({"tools": [tool("")]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0].type"),
        ({"tools": [tool("a", {"type": "string"})]}, "tools[0].function.parameters"),
        ({"tools": [tool("a"), tool("b", {"type": 5})]}, "tools[1].function.parameters"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "then"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom"}}, "tool_choice.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool(f"t{at}") for at in range(513)]}, "tools"),
        ({"functions": [{"name": "a"}]}, "functions"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(api: Any, asked: Any, param: str) -> None:
    response = await api.chat(**asked)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param, error
    assert error["message"] and not api.engine.requests


async def test_the_model_is_told_of_the_tools(saying: Any, tokenizer: Tokenizer) -> None:
    api = saying("Hello")
    await api.chat(tools=TOOLS)
    prompt = tokenizer.decode(api.engine.requests[0].token_ids)
    assert '"name": "get_weather"' in prompt and "The weather of a city." in prompt


async def test_a_hundred_and_twenty_eight_tools_are_kept(saying: Any) -> None:
    words = {f"argument_{at}": {"type": "string", "maxLength": 100 + at} for at in range(3)}
    many = [
        tool(f"tool_{at}", {"type": "object", "properties": words, "required": list(words)[:1]}) for at in range(128)
    ]
    said = '<tool_call>\n{"name": "tool_97", "arguments": {"argument_0": "x"}}\n</tool_call>'
    response = await saying(said, max_context=60_000).chat(tools=many)
    assert response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "tool_97"


async def test_arguments_of_tools_that_are_not_strict_are_free_where_the_server_says_so(saying: Any) -> None:
    free = CALL.replace("days", "nights")
    assert (await saying(free, strict_tools=False).chat(tools=TOOLS)).status_code == 200
    strict = [tool("get_weather", TOOLS[0]["function"]["parameters"], strict=True)]
    assert not is_said(await saying(free, strict_tools=False).chat(tools=strict))


async def test_stop_strings_are_looked_for_in_text_and_not_in_calls(saying: Any) -> None:
    choice = (await saying(f"One. Two.\n{CALL}").chat(tools=TOOLS, stop=["Two", "Oslo"])).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == ("One. ", "stop", "Two")
    choice = (await saying(CALL).chat(tools=TOOLS, stop=["Two", "Oslo"])).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["stop_reason"] is None


async def test_a_model_without_a_known_format_refuses_tools_by_name(saying: Any) -> None:
    response = await saying("Hello", call_format="none").chat(tools=TOOLS)
    assert response.status_code == 400 and response.json()["error"]["param"] == "tools"
    assert (await saying("Hello", call_format="none").chat(tools=TOOLS, tool_choice="none")).status_code == 200


async def test_reasoning_comes_apart_from_the_text(saying: Any) -> None:
    api = saying("<think>\nHm. Rain?\n</think>\n\nIt rains.", reasoning="think")
    body = (await api.chat()).json()
    message = body["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm. Rain?", "It rains.")
    assert 0 < body["usage"]["completion_tokens_details"]["reasoning_tokens"] < body["usage"]["completion_tokens"]
    chunks = events(await saying(f"<think>Hm.</think>\n\n{CALL}", reasoning="think").chat(tools=TOOLS, stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm."
    assert any("tool_calls" in delta for delta in deltas) and not any(delta.get("content") for delta in deltas)


async def test_who_ignores_ends_gets_the_raw_text(saying: Any) -> None:
    api = saying("Hello", reasoning="think")
    await api.chat(ignore_eos=True)
    await api.chat(skip_special_tokens=False)
    await api.chat()
    assert [request.params.constraint is None for request in api.engine.requests] == [True, True, False]


async def test_an_engine_s_word_on_the_constraint_names_the_request_s_field(make_api: Any) -> None:
    from espalier.engine.errors import RequestError

    def script(request: Any) -> Any:
        yield RequestError("GrammarTooLargeError: the grammar: over the limit states", param="constraint")

    error = (await make_api(script).chat(tools=TOOLS)).json()["error"]
    assert error["param"] == "tools" and "over the limit" in error["message"]
    error = (await make_api(script).chat(regex="a")).json()["error"]
    assert error["param"] == "regex"
