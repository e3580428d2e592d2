"""The openai package over chat completions: tools, streams, typed answers; its own types take all that is sent.

The model's words go through the grammar of each request: what it does not allow is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import openai
import pydantic
import pytest

from espalier.engine.hub import locate
from espalier.engine.options import BUNDLED_MODEL
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.app import create_app
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import READY, ScriptedClient
from tests.gateway.live_server import served
from tests.gateway.said import says

FOLDER = locate(BUNDLED_MODEL)
TOKENIZER = Tokenizer.load(FOLDER)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "unit": "celsius"}}\n</tool_call>'
OTHER = CALL.replace("Oslo", "Rome")
ASKED: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["celsius", "kelvin"] = "celsius"


class Step(pydantic.BaseModel):
    """One step."""

    explanation: str
    number: float | None


class Solution(pydantic.BaseModel):
    """Steps and what they come to."""

    steps: list[Step]
    answer: str


TOOLS: Any = [openai.pydantic_function_tool(GetWeather, name="get_weather")]


@pytest.fixture
def client() -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients of servers whose model says these texts; they end with the test."""
    with ExitStack() as stack:

        def make(*texts: str, **options: Any) -> openai.OpenAI:
            engine = ScriptedClient(says(TOKENIZER, *texts), ready=READY)
            app: Any = create_app(engine, folder=FOLDER, model="tiny", options=GatewayOptions(**options))
            url = stack.enter_context(served(app))
            return stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0))

        yield make


def test_tools_are_called_and_their_results_answered(client: Any) -> None:
    made = client(f"Let me see.\n{CALL}\n{OTHER}", "It rains in Oslo.")
    asked = [*ASKED]
    answered = made.chat.completions.create(model="tiny", messages=asked, tools=TOOLS)
    message = answered.choices[0].message
    assert answered.choices[0].finish_reason == "tool_calls" and message.content == "Let me see."
    assert [json.loads(call.function.arguments)["city"] for call in message.tool_calls] == ["Oslo", "Rome"]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls]
    asked += [message.model_dump(exclude_unset=True), *results]
    answered = made.chat.completions.create(model="tiny", messages=asked, tools=TOOLS)
    assert answered.choices[0].message.content == "It rains in Oslo." and answered.choices[0].message.tool_calls is None
    answered = made.chat.completions.create(model="tiny", messages=asked)
    assert answered.choices[0].message.content == "It rains in Oslo."


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_weather"}}]},
        },
    ],
)
def test_each_tool_choice_of_the_client_is_kept(client: Any, choice: Any) -> None:
    answered = client(CALL).chat.completions.create(
        model="tiny", messages=ASKED, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
    )
    assert answered.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_streamed_calls_add_up_in_the_client_s_own_accumulator(client: Any) -> None:
    made = client(f"Well.\n{CALL}\n{OTHER}")
    with made.chat.completions.stream(
        model="tiny", messages=ASKED, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_completion()
    assert {"content.delta", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= set(kinds)
    assert kinds.count("tool_calls.function.arguments.done") == 2
    message = whole.choices[0].message
    assert message.content == "Well." and whole.choices[0].finish_reason == "tool_calls"
    assert [call.function.parsed_arguments for call in message.tool_calls] == [
        GetWeather(city="Oslo"), GetWeather(city="Rome"),
    ]  # fmt: skip
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_stream_of_chunks_holds_whole_calls(client: Any) -> None:
    chunks = list(client(CALL).chat.completions.create(model="tiny", messages=ASKED, tools=TOOLS, stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [delta.function.name for delta in deltas if delta.function.name] == ["get_weather"]
    assert [delta.type for delta in deltas if delta.type] == ["function"]
    assert json.loads("".join(delta.function.arguments for delta in deltas))["city"] == "Oslo"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_answers_are_parsed_into_pydantic_models(client: Any) -> None:
    text = '{"steps": [{"explanation": "add", "number": 4.5}, {"explanation": "", "number": null}], "answer": "4"}'
    made = client(text)
    parsed = made.chat.completions.parse(model="tiny", messages=ASKED, response_format=Solution)
    solution = Solution(steps=[Step(explanation="add", number=4.5), Step(explanation="", number=None)], answer="4")
    assert parsed.choices[0].message.parsed == solution
    with made.chat.completions.stream(model="tiny", messages=ASKED, response_format=Solution) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == solution


def test_tools_and_a_typed_answer_go_together(client: Any) -> None:
    made = client(CALL, '{"steps": [], "answer": "rain"}')
    parsed = made.chat.completions.parse(model="tiny", messages=ASKED, tools=TOOLS, response_format=Solution)
    call = parsed.choices[0].message.tool_calls[0]
    assert call.function.parsed_arguments == GetWeather(city="Oslo") and parsed.choices[0].message.parsed is None
    parsed = made.chat.completions.parse(model="tiny", messages=ASKED, tools=TOOLS, response_format=Solution)
    assert parsed.choices[0].message.parsed == Solution(steps=[], answer="rain")


def test_a_schema_that_nothing_satisfies_is_a_bad_request(client: Any) -> None:
    schema = {"type": "object", "properties": {"a": False}, "required": ["a"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        client("{}").chat.completions.create(model="tiny", messages=ASKED, response_format=form)
    assert caught.value.code == "unsatisfiable_schema" and caught.value.param == "response_format.json_schema.schema"


def test_forms_of_other_servers_travel_in_the_extra_body(client: Any) -> None:
    for extra, text in (
        ({"structured_outputs": {"regex": "[0-9]{3}"}}, "123"),
        ({"guided_choice": ["yes", "no"]}, "no"),
        ({"regex": "[a-z]"}, "x"),
    ):
        answered = client(text).chat.completions.create(model="tiny", messages=ASKED, extra_body=extra)
        assert answered.choices[0].message.content == text


def test_reasoning_stands_beside_the_content(client: Any) -> None:
    made = client("<think>\nHm.\n</think>\n\nRain.", reasoning="think")
    message = made.chat.completions.create(model="tiny", messages=ASKED).choices[0].message
    assert (message.content, message.reasoning_content) == ("Rain.", "Hm.")
    chunks = list(made.chat.completions.create(model="tiny", messages=ASKED, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Hm."
    assert "".join(delta.content or "" for delta in deltas) == "Rain."
