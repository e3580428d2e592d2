"""The anthropic package against a real server on loopback: messages, streams, tools, parsing, counts, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pydantic
import pytest

from espalier.engine.errors import EngineDiedError
from espalier.engine.hub import locate
from espalier.engine.messages import Output, Usage
from espalier.engine.options import BUNDLED_MODEL
from espalier.gateway.app import create_app
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import READY, Script, ScriptedClient, answer
from tests.gateway.answers import Whole
from tests.gateway.live_server import served
from tests.gateway.part_script import tells

anthropic = pytest.importorskip("anthropic")

HI: Any = [{"role": "user", "content": "Hello"}]
TOOL: Any = {
    "name": "look_up",
    "description": "Looks things up.",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}
WHOLE = Whole("hm", "I look.", (("look_up", '{"a": 1}'), ("look_up", '{"a": 2}')))


class Answer(pydantic.BaseModel):
    """What parse() is asked for."""

    a: int
    b: str


@pytest.fixture
def client() -> Iterator[Callable[..., Any]]:
    """Makes clients of servers with a script each; they end with the test."""
    folder = locate(BUNDLED_MODEL)
    with ExitStack() as stack:

        def make(script: Script | None = None, key: str = "k") -> Any:
            engine = ScriptedClient(script or answer(["Hel", "lo", " there"], cached_tokens=2), ready=READY)
            keys = KeyRing((("ada", digest("k")),))
            app = create_app(engine, folder=folder, model="tiny", options=GatewayOptions(), keys=keys)
            url = stack.enter_context(served(app))
            return stack.enter_context(anthropic.Anthropic(base_url=url, api_key=key, max_retries=0))

        yield make


def test_a_message_is_answered(client: Any) -> None:
    message = client().messages.create(model="tiny", max_tokens=50, messages=HI, system="Be brief.")
    assert [block.text for block in message.content] == ["Hello there"]
    assert (message.stop_reason, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        "end_turn",
        2,
        3,
    )
    assert message._request_id


def test_a_stream_is_read_by_the_client_s_own_helper(client: Any) -> None:
    made = client(tells(WHOLE))
    with made.messages.stream(model="tiny", max_tokens=50, messages=HI, tools=[TOOL]) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_message()
    assert {"thinking", "text", "input_json", "content_block_stop", "message_stop"} <= kinds
    thinking, text, *uses = message.content
    assert thinking.thinking == "hm" and thinking.signature and text.text == "I look."
    assert [use.input for use in uses] == [{"a": 1}, {"a": 2}] and message.stop_reason == "tool_use"
    assert message == message.model_validate(message.model_dump())


def test_raw_events_are_the_client_s_own_types(client: Any) -> None:
    made = client()
    events = list(made.messages.create(model="tiny", max_tokens=50, messages=HI, stream=True))
    assert [event.type for event in events][:2] == ["message_start", "content_block_start"]
    assert events[-1].type == "message_stop"


def test_a_tool_loop_goes_round(client: Any) -> None:
    made = client(tells(WHOLE))
    first = made.messages.create(
        model="tiny",
        max_tokens=50,
        messages=HI,
        tools=[TOOL],
        tool_choice={"type": "any"},
        thinking={"type": "adaptive"},
    )
    uses = [block for block in first.content if block.type == "tool_use"]
    results: Any = [{"type": "tool_result", "tool_use_id": use.id, "content": "1"} for use in uses]
    messages = [*HI, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = made.messages.create(model="tiny", max_tokens=50, messages=messages, tools=[TOOL])
    assert second.stop_reason == "tool_use"


def test_the_client_s_own_tool_runner_runs_tools(client: Any) -> None:
    ran: list[int] = []

    @anthropic.beta_tool  # type: ignore[untyped-decorator]
    def look_up(a: int) -> str:
        """Looks things up.

        Args:
            a: What to look up.
        """
        ran.append(a)
        return "1"

    def script(request: Any) -> Any:
        whole = Whole(text="It is 1.") if ran else Whole(calls=(("look_up", '{"a": 7}'),))
        return tells(whole)(request)

    runner = client(script).beta.messages.tool_runner(model="tiny", max_tokens=50, messages=HI, tools=[look_up])
    assert [block.text for block in runner.until_done().content] == ["It is 1."] and ran == [7]


def test_answers_are_parsed(client: Any) -> None:
    made = client(tells(Whole(text='{"a": 1, "b": "x"}')))
    parsed = made.messages.parse(model="tiny", max_tokens=50, messages=HI, output_format=Answer)
    assert parsed.parsed_output == Answer(a=1, b="x")


def test_tokens_are_counted_and_models_listed(client: Any) -> None:
    made = client()
    assert made.messages.count_tokens(model="tiny", messages=HI, tools=[TOOL]).input_tokens > 0
    (model,) = made.models.list()
    assert (model.id, model.display_name, model.created_at.tzinfo is not None) == ("tiny", "tiny", True)
    assert made.models.retrieve("tiny") == model


def test_refusals_are_the_client_s_own_classes(client: Any) -> None:
    made = client()
    for error, more in (
        (anthropic.NotFoundError, {"model": "claude-9"}),
        (anthropic.BadRequestError, {"messages": []}),
        (anthropic.BadRequestError, {"extra_body": {"nothing": 1}}),
    ):
        with pytest.raises(error) as caught:
            made.messages.create(**{"model": "tiny", "max_tokens": 50, "messages": HI, **more})
        assert caught.value.body["type"] == "error" and caught.value.request_id
    with pytest.raises(anthropic.AuthenticationError):
        client(key="another").messages.create(model="tiny", max_tokens=50, messages=HI)


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]

    with (
        pytest.raises(anthropic.APIStatusError, match="it ended"),
        client(script).messages.stream(model="tiny", max_tokens=50, messages=HI) as stream,
    ):
        list(stream)
