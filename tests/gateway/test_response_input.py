"""From items to messages: what was generated in one go is one message, and outputs fit their calls."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.gateway.errors import ApiError
from espalier.gateway.history import plain_messages
from espalier.gateway.response_input import calls_of, check_outputs, messages_from, replayed
from espalier.gateway.wire.items import (
    CallItem,
    CallOutputItem,
    InputText,
    Item,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
)
from espalier.gateway.wire.requests import Function, Message, ToolCall

ASKED = MessageItem("m1", "user", [InputText("What is a?")])
THOUGHT = ReasoningItem("r1", content=[ReasoningText("Look "), ReasoningText("it up.")])
SAID = MessageItem("m2", "assistant", [OutputText("I look.")])
CALL = CallItem("f1", "c1", "look_up", '{"a": 1}')
CALL_2 = CallItem("f2", "c2", "look_up", '{"a": 2}')
OUTPUT = CallOutputItem("o1", "c1", "1")
OUTPUT_2 = CallOutputItem("o2", "c2", [InputText("2"), InputText("!")])


def call(item: CallItem) -> ToolCall:
    return ToolCall(Function(item.name, item.arguments), item.call_id)


def test_reasoning_text_and_calls_of_one_answer_are_one_message() -> None:
    messages = messages_from([ASKED, THOUGHT, SAID, CALL, CALL_2, OUTPUT, OUTPUT_2])
    assert messages[1:] == [
        Message("assistant", "I look.", tool_calls=[call(CALL), call(CALL_2)], reasoning_content="Look it up."),
        Message("tool", "1", tool_call_id="c1"),
        Message("tool", "2!", tool_call_id="c2"),
    ]


@pytest.mark.parametrize(
    ("items", "roles"),
    [
        ([SAID, SAID], ["assistant", "assistant"]),
        ([CALL, SAID], ["assistant", "assistant"]),
        ([CALL, THOUGHT, SAID], ["assistant", "assistant"]),
        ([THOUGHT, THOUGHT, CALL], ["assistant"]),
        ([CALL, OUTPUT, CALL_2, OUTPUT_2], ["assistant", "tool", "assistant", "tool"]),
        ([MessageItem("m", "developer", [InputText("x")]), ASKED], ["developer", "user"]),
    ],
)
def test_another_answer_is_another_message(items: list[Item], roles: list[str]) -> None:
    assert [message.role for message in messages_from(items)] == roles


def test_outputs_answer_calls_of_the_history_or_of_the_same_input() -> None:
    check_outputs(["c1"], [OUTPUT])
    check_outputs([], [CALL, OUTPUT, CALL_2, OUTPUT_2])
    check_outputs(["c1"], [OUTPUT, OUTPUT])


@pytest.mark.parametrize(
    ("history", "given", "param"),
    [
        ([], [OUTPUT], "input[0].call_id"),
        (["c2"], [ASKED, OUTPUT], "input[1].call_id"),
        ([], [OUTPUT, CALL], "input[0].call_id"),
        (["c1"], [OUTPUT, CallOutputItem("o", "c1", "another")], "input[1].call_id"),
    ],
)
def test_an_output_without_its_call_is_refused(history: Any, given: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_outputs(history, given)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_messages_that_were_stored_as_templates_read_them_come_back() -> None:
    messages = messages_from([ASKED, THOUGHT, SAID, CALL, CALL_2, OUTPUT, OUTPUT_2])
    assert [replayed(plain) for plain in plain_messages(messages)] == messages
    assert calls_of(messages) == {"c1", "c2"}
