"""Items as clients send them: what may be left out, what is ignored, what is refused and where."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
from openai.types.responses.response_reasoning_item import ResponseReasoningItem

from espalier.gateway.errors import ApiError
from espalier.gateway.wire.items import (
    CallItem,
    CallOutputItem,
    InputText,
    ItemReference,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    read_items,
)


def read(given: Any) -> list[Any]:
    count = itertools.count()
    return list(read_items(given, lambda prefix: f"{prefix}_{next(count)}"))


def test_a_text_is_a_users_message() -> None:
    assert read("Hi") == [MessageItem("msg_0", "user", [InputText("Hi")])]


@pytest.mark.parametrize("content", ["Hi", [{"type": "input_text", "text": "Hi"}], [{"type": "text", "text": "Hi"}]])
@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_message_may_come_without_type_id_and_status(role: Any, content: Any) -> None:
    assert read([{"role": role, "content": content}]) == [MessageItem("msg_0", role, [InputText("Hi")])]


@pytest.mark.parametrize("content", ["Hi", [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]])
def test_an_assistants_message_holds_text_that_was_generated(content: Any) -> None:
    given = {"role": "assistant", "content": content, "status": "completed", "id": "m", "phase": None}
    assert read([given]) == [MessageItem("m", "assistant", [OutputText("Hi")])]


@pytest.mark.parametrize("content", [None, "", []])
def test_content_may_be_empty_in_every_way(content: Any) -> None:
    (item,) = read([{"role": "user", "content": content}])
    assert "".join(part.text for part in item.content) == ""


def test_types_are_told_by_the_fields_where_they_are_left_out() -> None:
    given = [
        {"call_id": "c", "name": "f", "arguments": "{}"},
        {"call_id": "c", "output": "1"},
        {"id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"id": "msg_9"},
    ]
    assert read(given) == [
        CallItem("fc_0", "c", "f", "{}"),
        CallOutputItem("fco_1", "c", "1"),
        ReasoningItem("r", content=[ReasoningText("hm")]),
        ItemReference("msg_9"),
    ]


def test_what_openais_own_classes_write_is_read() -> None:
    call = ResponseFunctionToolCall(arguments="{}", call_id="c", name="f", type="function_call", id="fc_1")
    part: Any = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    said = ResponseOutputMessage(id="m", content=[part], role="assistant", status="completed", type="message")
    thought = ResponseReasoningItem(id="r", summary=[], type="reasoning")
    for unset in (False, True):
        assert read([item.model_dump(by_alias=True, exclude_unset=unset) for item in (call, said, thought)]) == [
            CallItem("fc_1", "c", "f", "{}"),
            MessageItem("m", "assistant", [OutputText("Hi")]),
            ReasoningItem("r"),
        ]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([5], "input[0]"),
        ([{}], "input[0].type"),
        ([{"type": "computer_call"}], "input[0].type"),
        ([{"type": ["message"]}], "input[0].type"),
        ([{"role": "user", "content": 5}], "input[0].content"),
        ([{"role": "user", "content": [5]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0]"),
        ([{"role": "robot", "content": "x"}], "input[0].role"),
        ([{"role": "user", "content": "x", "volume": 11}], "input[0]"),
        (["x", {"role": "user", "content": "x"}], "input[0]"),
        ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}], "input[0].arguments"),
        ([{"type": "function_call_output", "output": "x"}], "input[0]"),
        ([{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}], "input[0].output[0]"),
        ([{"role": "user", "content": "x", "id": "i" * 257}], "input[0].id"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_path(given: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(given)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert len(caught.value.message) < 500


def test_items_are_read_back_as_they_were_stored() -> None:
    from espalier.gateway.wire.items import Item

    items = read(
        [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "y"},
            {"call_id": "c", "name": "f", "arguments": "{}"},
            {"call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "e"},
        ]
    )
    assert msgspec.json.decode(msgspec.json.encode(items), type=list[Item]) == items
