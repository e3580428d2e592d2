"""From Anthropic's messages to the template's: blocks, results of tools, what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.gateway.errors import ApiError
from espalier.gateway.message_input import messages_from
from espalier.gateway.wire.messages import GivenMessage
from espalier.gateway.wire.requests import Function, Message, ToolCall

USE: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"b": 1, "a": "ä"}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
CALL = ToolCall(Function("look_up", '{"b": 1, "a": "ä"}'), "t1")


def read(*given: tuple[Any, Any], system: Any = None) -> list[Message]:
    return messages_from(system, [GivenMessage(role, content) for role, content in given])


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]])
def test_the_system_is_a_text_or_blocks(system: Any) -> None:
    assert read(("user", "Hi"), system=system) == [Message("system", "Be brief."), Message("user", "Hi")]


@pytest.mark.parametrize("system", [None, "", []])
def test_an_empty_system_is_none(system: Any) -> None:
    assert read(("user", "Hi"), system=system) == [Message("user", "Hi")]


def test_the_system_may_be_a_message() -> None:
    assert read(("system", "Be brief."), ("user", "Hi"))[0] == Message("system", "Be brief.")


def test_thinking_text_and_calls_of_an_answer_are_one_message() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "I look.", "citations": None, "cache_control": {"type": "ephemeral"}},
        USE,
    ]
    assert read(("user", "a?"), ("assistant", blocks), ("user", [RESULT]))[1:] == [
        Message("assistant", "I look.", tool_calls=[CALL], reasoning_content="hm"),
        Message("tool", "1", tool_call_id="t1"),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [("1", "1"), (None, ""), ([], ""), ([{"type": "text", "text": "1"}, {"type": "text", "text": "2"}], "12")],
)
def test_a_result_is_a_text_blocks_or_nothing(content: Any, text: str) -> None:
    given = [{**RESULT, "content": content}, {"type": "text", "text": "And?"}]
    assert read(("user", "a?"), ("assistant", [USE]), ("user", given))[2:] == [
        Message("tool", text, tool_call_id="t1"),
        Message("user", "And?"),
    ]


def test_a_result_that_is_an_error_says_so() -> None:
    told = read(("user", "a?"), ("assistant", [USE]), ("user", [{**RESULT, "is_error": True}]))
    assert told[-1] == Message("tool", "Error: 1", tool_call_id="t1")


@pytest.mark.parametrize(
    ("given", "system", "param"),
    [
        ([], None, "messages"),
        ([("user", "a"), ("assistant", "b")], None, "messages[1]"),
        ([("user", [5])], None, "messages[0].content[0]"),
        ([("user", 5)], None, "messages[0].content"),
        ([("user", [{"type": "image", "source": {}}])], None, "messages[0].content[0]"),
        ([("user", [{"type": "text"}])], None, "messages[0].content[0].text"),
        ([("user", [{"type": "text", "text": "a", "colour": 1}])], None, "messages[0].content[0].colour"),
        ([("user", [RESULT])], None, "messages[0].content[0].tool_use_id"),
        ([("user", "a"), ("assistant", [{**USE, "input": "x"}]), ("user", "b")], None, "messages[1].content[0].input"),
        ([("user", "a"), ("assistant", [RESULT]), ("user", "b")], None, "messages[1].content[0]"),
        ([("user", "a")], [{"type": "image"}], "system[0]"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_path(given: Any, system: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(*given, system=system)
    assert (caught.value.status, caught.value.param) == (400, param)
