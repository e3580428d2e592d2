"""The stream of a message: for any answer in any chunks, the order, the blocks and the whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.engine.messages import Usage
from espalier.gateway.answer_event import Finished, FinishReason, TextDelta
from espalier.gateway.message_events import SIGNATURE, MessageEvents
from tests.gateway.answers import USAGE, Whole, wholes


def wire(events: list[Any]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events]


def told(whole: Whole, size: int = 10**9) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    growing = MessageEvents("msg_1", "tiny")
    events = growing.begin(USAGE)
    for event in whole.events(size):
        events += growing.add(event)
    return wire(events), wire([growing.message])[0]


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message as Anthropic's clients put it together; asserts the order of events."""
    first, *rest = events
    assert first["type"] == "message_start"
    message: dict[str, Any] = first["message"]
    buffer, open_at = "", -1
    for event in rest:
        kind, content = event["type"], message["content"]
        if kind == "content_block_start":
            assert open_at == -1 and event["index"] == len(content)
            content.append(event["content_block"])
            buffer, open_at = "", event["index"]
        elif kind == "content_block_delta":
            assert event["index"] == open_at
            delta = event["delta"]
            name = delta["type"].removesuffix("_delta")
            if name == "input_json":
                buffer += delta["partial_json"]
            else:
                content[open_at][name] += delta[name]
        elif kind == "content_block_stop":
            assert event["index"] == open_at
            if content[open_at]["type"] == "tool_use":
                content[open_at]["input"] = json.loads(buffer or "{}")
            open_at = -1
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    assert open_at == -1 and [event["type"] for event in rest[-2:]] == ["message_delta", "message_stop"]
    return message


@given(wholes(), st.integers(1, 12))
def test_the_whole_is_what_clients_put_together(whole: Whole, size: int) -> None:
    events, message = told(whole, size)
    assert accumulated(events) == message == told(whole)[1]


@given(wholes())
def test_blocks_are_thinking_text_and_calls(whole: Whole) -> None:
    content = told(whole)[1]["content"]
    expected: list[dict[str, Any]] = []
    if whole.reasoning:
        expected.append({"type": "thinking", "thinking": whole.reasoning, "signature": SIGNATURE})
    if whole.text or not (whole.reasoning or whole.calls):
        expected.append({"type": "text", "text": whole.text})
    expected += [
        {"type": "tool_use", "id": f"call_{at}", "name": name, "input": json.loads(arguments)}
        for at, (name, arguments) in enumerate(whole.calls)
    ]
    assert content == expected


@pytest.mark.parametrize(
    ("reason", "stop_reason", "told_reason", "sequence"),
    [
        ("stop", None, "end_turn", None),
        ("stop", 7, "end_turn", None),
        ("stop", "END", "stop_sequence", "END"),
        ("length", None, "max_tokens", None),
        ("tool_calls", None, "tool_use", None),
    ],
)
def test_reasons_are_told_in_anthropics_words(
    reason: FinishReason, stop_reason: Any, told_reason: str, sequence: str | None
) -> None:
    growing = MessageEvents("msg_1", "tiny")
    growing.begin(USAGE)
    growing.add(TextDelta("Hi"))
    growing.add(Finished(reason, USAGE, stop_reason))
    message = wire([growing.message])[0]
    assert (message["stop_reason"], message["stop_sequence"]) == (told_reason, sequence)


def test_usage_tells_what_was_read_and_written_apart_and_counts_the_output_last() -> None:
    growing = MessageEvents("msg_1", "tiny")
    (start,) = wire(growing.begin(Usage(9, 4, 3, 1, written_tokens=3)))
    *_, delta, _ = wire(growing.add(Finished("stop", Usage(9, 4, 6, 2, written_tokens=3))))
    for usage in (start["message"]["usage"], delta["usage"]):
        read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        assert (usage["input_tokens"], read, written) == (2, 4, 3)
    assert (start["message"]["usage"]["output_tokens"], delta["usage"]["output_tokens"]) == (0, 6)
    assert delta["usage"]["output_tokens_details"] == {"thinking_tokens": 2}


def test_no_text_block_has_citations() -> None:
    assert "citations" not in json.dumps(told(Whole(text="Hi")))
