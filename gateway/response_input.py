"""From the items of a conversation to the messages that a chat template reads, and which tool outputs fit it. Pure.

What a model generated in one go, reasoning, text and calls, is one message again: it renders as it was generated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, convert, field
from msgspec.structs import replace

from espalier.gateway.errors import invalid
from espalier.gateway.wire.items import (
    CallItem,
    CallOutputItem,
    InputText,
    Item,
    ItemRole,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    text_of,
)
from espalier.gateway.wire.requests import Function, Message, Role, ToolCall

_SILENT = Message("assistant")


def messages_from(items: Iterable[Item]) -> list[Message]:
    """Messages in order."""
    messages: list[Message] = []
    for item in items:
        if isinstance(item, CallOutputItem) or (isinstance(item, MessageItem) and item.role != "assistant"):
            messages.append(_given(item))
            continue
        joined = _joined(messages[-1], item) if messages and messages[-1].role == "assistant" else None
        if joined is None:
            messages.append(_joined(_SILENT, item) or _SILENT)
        else:
            messages[-1] = joined
    return messages


def replayed(plain: Mapping[str, object]) -> Message:
    """A message of a stored turn, as a request would bring it."""
    message = convert(plain, _Replayed)
    calls = [
        ToolCall(Function(call.function.name, _text(call.function.arguments)), call.id) for call in message.tool_calls
    ]
    return Message(
        message.role,
        message.content,
        message.name,
        tool_calls=calls or None,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.reasoning_content,
    )


def items_of(plain: Mapping[str, object], new_id: Callable[[str], str]) -> list[Item]:
    """A message of a stored turn as items: what is left where a turn's own are not kept."""
    message = replayed(plain)
    text = text_of(message.content if isinstance(message.content, str) else "")
    if message.role == "tool":
        return [CallOutputItem(new_id("fco"), message.tool_call_id or "", text)]
    if message.role != "assistant":
        role: ItemRole = "user" if message.role == "user" else "system"
        return [MessageItem(new_id("msg"), role, [InputText(text)])]
    items: list[Item] = []
    if message.reasoning_content:
        items.append(ReasoningItem(new_id("rs"), content=[ReasoningText(message.reasoning_content)]))
    if text:
        items.append(MessageItem(new_id("msg"), "assistant", [OutputText(text)]))
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return items + [CallItem(new_id("fc"), *call) for call in calls]


def calls_of(messages: Iterable[Message]) -> set[str]:
    """The ids of the calls that were made."""
    return {call.id for message in messages for call in message.tool_calls or ()}


def check_outputs(made: Iterable[str], given: Sequence[Item], within: str = "input") -> None:
    """Raise a 400 unless every tool output answers a call, of `made` or given before it, and once."""
    made = set(made)
    answered: dict[str, str] = {}
    for at, item in enumerate(given):
        if isinstance(item, CallItem):
            made.add(item.call_id)
        elif isinstance(item, CallOutputItem):
            where = f"{within}[{at}].call_id"
            if item.call_id not in made:
                raise invalid(f"no tool call has the call_id {item.call_id[:256]!r} that this output names", where)
            if answered.setdefault(item.call_id, text_of(item.output)) != text_of(item.output):
                raise invalid(f"two different outputs name the call_id {item.call_id[:256]!r}", where)


class _Function(Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | str = ""


class _Call(Struct, frozen=True):
    function: _Function
    id: str = ""


class _Replayed(Struct, frozen=True):
    role: Role
    content: str | None = None
    name: str | None = None
    tool_calls: list[_Call] = field(default_factory=list)
    tool_call_id: str | None = None
    reasoning_content: str | None = None


def _text(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _given(item: MessageItem | CallOutputItem) -> Message:
    if isinstance(item, CallOutputItem):
        return Message("tool", text_of(item.output), tool_call_id=item.call_id)
    return Message(item.role, text_of(item.content))


def _joined(said: Message, item: Item) -> Message | None:
    """The assistant's message with one more item; None where the item begins another message."""
    if isinstance(item, CallItem):
        call = ToolCall(Function(item.name, item.arguments), item.call_id)
        return replace(said, tool_calls=[*(said.tool_calls or []), call])
    if said.tool_calls or said.content is not None:
        return None
    if isinstance(item, ReasoningItem):
        thought = "".join(part.text for part in item.content)
        return replace(said, reasoning_content=(said.reasoning_content or "") + thought)
    assert isinstance(item, MessageItem)
    return replace(said, content=text_of(item.content))
