"""The openai package's Responses and Conversations against a real server on loopback, its stream helper included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from espalier.gateway.scripted_client import Script, answer
from tests.gateway.answers import Whole
from tests.gateway.live_server import served, stored
from tests.gateway.part_script import tells

MODEL = "tiny"
TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "strict": True,
}
WHOLE = Whole("hm", "I look.", (("look_up", '{"a": 1}'), ("look_up", '{"a": 2}')))


class Answer(pydantic.BaseModel):
    """What parse() is asked for."""

    a: int
    b: str


Make = Callable[..., openai.OpenAI]


@pytest.fixture
def client(make_api: Any, tmp_path: Path) -> Iterator[Make]:
    """Makes clients of servers with a script each; they end with the test."""
    with ExitStack() as stack:

        def make(script: Script | None = None) -> openai.OpenAI:
            sessions = stack.enter_context(stored(tmp_path / str(len(list(tmp_path.iterdir())))))
            api = make_api(script or answer(["Hel", "lo", " there"], cached_tokens=2), sessions=sessions)
            url = stack.enter_context(served(api.app))
            return stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0))

        yield make


def test_a_response_is_answered_retrieved_and_deleted(client: Make) -> None:
    made = client()
    answered = made.responses.create(model=MODEL, input="Hello", metadata={"a": "b"})
    assert answered.output_text == "Hello there" and answered.metadata == {"a": "b"}
    assert answered.usage is not None and answered.usage.input_tokens_details.cached_tokens == 2
    assert made.responses.retrieve(answered.id) == answered
    assert [item.id for item in made.responses.input_items.list(answered.id)]
    made.responses.delete(answered.id)
    with pytest.raises(openai.NotFoundError):
        made.responses.retrieve(answered.id)


def test_a_stream_is_read_by_the_client_s_own_helper(client: Make) -> None:
    with client(tells(WHOLE)).responses.stream(model=MODEL, input="Hello", tools=[TOOL]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    assert final.output_text == "I look."
    calls = [item for item in final.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"a": 1}, {"a": 2}]
    assert final.output[0].type == "reasoning"


def test_a_stream_resumes_by_its_helper(client: Make) -> None:
    made = client()
    with made.responses.create(model=MODEL, input="Hello", stream=True, background=True) as stream:
        first = [next(stream) for _ in range(4)]
    response_id = first[0].response.id  # type: ignore[union-attr]
    with made.responses.stream(response_id=response_id, starting_after=first[-1].sequence_number) as resumed:
        rest = list(resumed)
        final = resumed.get_final_response()
    numbers = [event.sequence_number for event in [*first, *rest]]
    assert numbers == list(range(len(numbers))) and final.output_text == "Hello there"


def test_answers_are_parsed(client: Make) -> None:
    made = client(tells(Whole(text='{"a": 1, "b": "x"}')))
    parsed = made.responses.parse(model=MODEL, input="Hello", text_format=Answer)
    assert parsed.output_parsed == Answer(a=1, b="x")


def test_a_tool_loop_goes_round(client: Make) -> None:
    made = client(tells(Whole(calls=(("look_up", '{"a": 1}'),))))
    first = made.responses.create(model=MODEL, input="What is a?", tools=[TOOL], tool_choice="required")
    (call,) = first.output
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "1"}
    made.responses.create(model=MODEL, input=[output], previous_response_id=first.id, tools=[TOOL])
    # Replayed by a client that keeps its items itself.
    items: Any = [{"role": "user", "content": "What is a?"}, *first.output, output]
    made.responses.create(model=MODEL, input=items, tools=[TOOL], store=False)


def test_a_conversation_is_kept_by_the_server(client: Make) -> None:
    made = client()
    conversation = made.conversations.create(items=[{"role": "user", "content": "One"}], metadata={"a": "b"})
    made.responses.create(model=MODEL, input="Two", conversation=conversation.id)
    items = list(made.conversations.items.list(conversation.id, order="asc"))
    assert [item.type for item in items] == ["message"] * 3
    assert made.conversations.items.retrieve(items[0].id or "", conversation_id=conversation.id) == items[0]
    made.conversations.items.delete(items[0].id or "", conversation_id=conversation.id)
    made.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Three"}])
    assert made.conversations.update(conversation.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert made.conversations.delete(conversation.id).deleted


def test_a_background_response_is_polled_and_cancelled(client: Make) -> None:
    made = client(answer([f"{at} " for at in range(3000)]))
    queued = made.responses.create(model=MODEL, input="Hello", background=True)
    assert queued.status == "queued"
    assert made.responses.retrieve(queued.id).status in ("queued", "in_progress", "completed")
    assert made.responses.cancel(queued.id).status in ("cancelled", "completed")


def test_refusals_are_the_client_s_own_classes(client: Make) -> None:
    made = client()
    with pytest.raises(openai.BadRequestError) as caught:
        made.responses.create(model=MODEL, input="Hello", previous_response_id="resp_nothing")
    assert caught.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        made.responses.create(model="gpt-9", input="Hello")


def test_input_tokens_are_counted(client: Make) -> None:
    assert client().responses.input_tokens.count(model=MODEL, input="Hello").input_tokens > 0
