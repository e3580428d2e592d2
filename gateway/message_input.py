"""From the messages, blocks and tools of the Messages API to those that a chat template reads. Pure.

A tool's result is a message of its own, an answer's thinking, text and calls are one. Other blocks are refused by path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from espalier.gateway.errors import invalid
from espalier.gateway.wire.messages import GivenMessage
from espalier.gateway.wire.requests import Function, Message, ToolCall

Block = dict[str, Any]
# Without an effect on what a block says.
_IGNORED = frozenset({"cache_control", "citations", "signature", "caller", "type"})


def messages_from(system: str | list[Any] | None, given: list[GivenMessage]) -> list[Message]:
    """Messages in order, the system's first. Raises ApiError with the path of what can't be read."""
    if not given:
        raise invalid("messages is empty; at least one message is needed", "messages")
    if given[-1].role == "assistant":
        raise invalid(
            "the last message is the assistant's; this server does not continue it", f"messages[{len(given) - 1}]"
        )
    told = _text(system, "system")
    messages = [Message("system", told)] if told else []
    made: set[str] = set()
    for at, message in enumerate(given):
        where = f"messages[{at}].content"
        if message.role == "assistant":
            messages.append(_said(message, where))
            made.update(call.id for call in messages[-1].tool_calls or ())
        elif message.role == "system":
            messages.append(Message("system", _text(message.content, where)))
        else:
            messages += _asked(message, where, made)
    return messages


def _asked(message: GivenMessage, where: str, made: set[str]) -> Iterator[Message]:
    """A user's message: results of tools and texts, in order; texts side by side are one message."""
    texts: list[str] = []
    num_told = 0
    for place, kind, block in _blocks(message.content, where):
        if kind == "tool_result":
            if texts:
                yield Message("user", "".join(texts))
            texts = []
            yield _result(block, place, made)
            num_told += 1
        else:
            texts.append(_text_of(kind, block, place, "text and tool_result"))
    if texts or not num_told:
        yield Message("user", "".join(texts))


def _result(block: Block, place: str, made: set[str]) -> Message:
    _only(block, ("tool_use_id", "content", "is_error"), place)
    name = block.get("tool_use_id")
    if not isinstance(name, str) or name not in made:
        raise invalid(
            f"{place}.tool_use_id {str(name)[:64]!r} names no tool_use of an earlier message", f"{place}.tool_use_id"
        )
    text = _text(block.get("content"), f"{place}.content")
    # Chat templates have no place for it, so the text says it.
    return Message("tool", f"Error: {text}" if block.get("is_error") else text, tool_call_id=name)


def _said(message: GivenMessage, where: str) -> Message:
    thoughts, texts, calls = [], [], []
    for place, kind, block in _blocks(message.content, where):
        if kind == "thinking":
            thoughts.append(_string(block, "thinking", place))
        elif kind == "tool_use":
            calls.append(_call(block, place))
        elif kind != "redacted_thinking":  # nobody here can read it
            texts.append(_text_of(kind, block, place, "text, thinking and tool_use"))
    return Message("assistant", "".join(texts), tool_calls=calls or None, reasoning_content="".join(thoughts) or None)


def _call(block: Block, place: str) -> ToolCall:
    _only(block, ("id", "name", "input"), place)
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise invalid(f"{place}.input is no object", f"{place}.input")
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(Function(_string(block, "name", place), text), _string(block, "id", place))


def _text(content: str | list[Any] | None, where: str) -> str:
    return "".join(_text_of(kind, block, place, "text") for place, kind, block in _blocks(content, where))


def _blocks(content: str | list[Any] | None, where: str) -> Iterator[tuple[str, str, Block]]:
    """Path, type and fields of each block; a text is a block of its own. A null field counts as absent."""
    if content is None or isinstance(content, str):
        yield where, "text", {"text": content or ""}
        return
    if not isinstance(content, list):
        raise invalid(f"{where} is a JSON {type(content).__name__}, a text or an array is needed", where)
    for at, block in enumerate(content):
        place = f"{where}[{at}]"
        if not isinstance(block, dict):
            raise invalid(f"{place} is a JSON {type(block).__name__}, an object is needed", place)
        yield place, str(block.get("type", "text")), {name: value for name, value in block.items() if value is not None}


def _text_of(kind: str, block: Block, place: str, readable: str) -> str:
    if kind != "text":
        raise invalid(f"{place} is of type {kind[:64]!r}; this model reads {readable} there", place)
    _only(block, ("text",), place)
    return _string(block, "text", place)


def _string(block: Block, name: str, place: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise invalid(f"{place}.{name} is missing or no string", f"{place}.{name}")
    return value


def _only(block: Block, names: tuple[str, ...], place: str) -> None:
    for name in block:
        if name not in names and name not in _IGNORED:
            raise invalid(f"{place} has an unknown field {name[:64]!r}", f"{place}.{name[:64]}")
