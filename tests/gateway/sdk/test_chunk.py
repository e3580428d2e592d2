"""Chunks become events and a reply, from our server as from others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espalier.gateway.sdk import (
    ArgumentsDelta,
    CallReady,
    CallStarted,
    ReasoningDelta,
    Reply,
    StreamError,
    TextDelta,
    Usage,
)
from espalier.gateway.sdk.chunk import ChunkReader, read_chunk
from espalier.gateway.sdk.event import ModelEvent
from espalier.gateway.sdk.message import CallMade, Function


def chunk(delta: Any = None, finish_reason: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return json.dumps({"id": "c1", "model": "m", "choices": [choice], "usage": None, **more})


def calls(index: int, arguments: str | None = None, **more: Any) -> Any:
    function = {} if arguments is None else {"arguments": arguments}
    name = more.pop("name", None)
    return {"tool_calls": [{"index": index, "function": {**({"name": name} if name else {}), **function}, **more}]}


def read(*chunks: str) -> tuple[list[ModelEvent], Reply]:
    reader = ChunkReader()
    events = [event for one in chunks for event in reader.take(read_chunk(one))]
    return events, reader.reply()


def test_words_and_reasoning_are_told_as_they_come() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    events, reply = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "He"}, espalier={"session_id": "s", "turn_id": "t"}),
        chunk({"content": "llo"}, espalier={"cost": 0.5}),
        chunk({}, "stop"),
        json.dumps({"id": "c1", "choices": [], "usage": usage}),
    )
    assert events == [ReasoningDelta("hm"), TextDelta("He"), TextDelta("llo")]
    assert reply == Reply(
        "Hello", usage=Usage(9, 3, 4, 2, 0.5), reasoning="hm", id="c1", model="m", turn_id="t", session_id="s"
    )


def test_a_call_is_ready_when_the_server_says_so_before_the_turn_ends() -> None:
    events, reply = read(
        chunk(calls(0, "", id="a", type="function", name="f")),
        chunk(calls(0, '{"x":')),
        chunk(calls(0, "1}"), espalier={"completed_call": "a"}),
        chunk(calls(1, "{}", id="b", type="function", name="g"), espalier={"completed_call": "b"}),
        chunk({}, "tool_calls"),
    )
    assert events == [
        CallStarted(0, "a", "f"),
        ArgumentsDelta(0, '{"x":'),
        ArgumentsDelta(0, "1}"),
        CallReady(0, "a", "f", '{"x":1}'),
        CallStarted(1, "b", "g"),
        ArgumentsDelta(1, "{}"),
        CallReady(1, "b", "g", "{}"),
    ]
    assert reply.calls == (CallMade("a", Function("f", '{"x":1}')), CallMade("b", Function("g", "{}")))


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_a_server_that_does_not_say_so_completes_its_calls_by_ending_the_turn(reason: str) -> None:
    events, reply = read(chunk(calls(0, "{}", id="a", name="f")), chunk({}, reason))
    assert events[-1] == CallReady(0, "a", "f", "{}")
    assert len(reply.calls) == 1


def test_a_call_that_the_budget_closed_is_never_made() -> None:
    events, reply = read(
        chunk(calls(0, "{}", id="a", name="f"), espalier={"completed_call": "a"}),
        chunk(calls(1, '{"x":0}', id="b", name="g")),
        chunk({}, "length"),
    )
    assert [event.id for event in events if isinstance(event, CallReady)] == ["a"]
    assert [call.id for call in reply.calls] == ["a"]
    assert reply.finish_reason == "length"


def test_nulls_and_unknown_fields_say_nothing() -> None:
    events, reply = read(
        chunk({"content": None, "tool_calls": None, "refusal": None, "new": 1}, espalier=None, choices2=[]),
        json.dumps({"choices": None, "usage": {"prompt_tokens": 1, "prompt_tokens_details": None}}),
        chunk({"content": "x"}, "stop", system_fingerprint=None),
    )
    assert events == [TextDelta("x")]
    assert reply.usage == Usage(1)


@pytest.mark.parametrize("data", ["{", "[]", '{"choices":[{"delta":{"content":3}}]}', '{"id":4}'])
def test_what_is_no_chunk_is_an_error_that_shows_it(data: str) -> None:
    with pytest.raises(StreamError, match="no chunk"):
        read_chunk(data)


def test_a_call_without_a_name_and_a_turn_without_an_end_are_errors() -> None:
    with pytest.raises(StreamError, match="begins without a name"):
        read(chunk(calls(0, "{}", id="a")))
    with pytest.raises(StreamError, match="without a finish_reason"):
        read(chunk({"content": "x"}))


def test_another_id_is_another_answer() -> None:
    reader = ChunkReader()
    assert not reader.is_other(read_chunk(chunk()))
    reader.take(read_chunk(chunk()))
    assert not reader.is_other(read_chunk(chunk()))
    assert not reader.is_other(read_chunk('{"choices":[]}'))
    assert reader.is_other(read_chunk('{"id":"c2"}'))
