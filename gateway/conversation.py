# OWNER, PLEASE CHECK: the first version of this file was overwritten by mistake at 08:41:51 (a name clash) and this one
# was rebuilt from prompter.py at HEAD and its new uses. Put your own back if you have it; else delete these two lines.
"""A conversation as chat templates expect it, and what of it goes first when it is too long. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from espalier.gateway.errors import invalid
from espalier.gateway.wire.requests import Message

Plain = dict[str, Any]

ROLES = {"developer": "system", "function": "tool"}
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def plain_messages(messages: Sequence[Message]) -> list[Plain]:
    """The messages as plain objects. Raises ApiError with the place of what is not text."""
    if not messages:
        raise invalid("messages is empty; at least one message is needed", "messages")
    return [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]


def drop_oldest(messages: list[Plain], fits: Callable[[list[Plain]], bool]) -> list[Plain] | None:
    """The messages without as many of the oldest turns as it takes to fit; None if the last turn alone does not.

    A turn begins with a user's message: neither an answer without its question nor a result without its call is kept.
    System messages stay.
    """
    kept = list(messages)
    while not fits(kept):
        begins = [at for at, message in enumerate(kept) if message["role"] == "user"]
        oldest = next((at for at, message in enumerate(kept) if message["role"] != "system"), None)
        following = next((at for at in begins if oldest is not None and at > oldest), None)
        if oldest is None or following is None:
            return None
        kept = [message for at, message in enumerate(kept) if at >= following or message["role"] == "system"]
    return kept


def _plain(message: Message, where: str) -> Plain:
    plain: Plain = {
        "role": ROLES.get(message.role, message.role),
        "content": _text(message.content, where),
    }
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if reasoning := message.reasoning_content or message.reasoning:
        plain["reasoning_content"] = reasoning
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call.function.arguments)},
            }
            for call in message.tool_calls
        ]
    return plain


def _arguments(text: str) -> Any:
    """Templates write arguments as JSON of their own: give them the object where it is one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _text(content: str | list[dict[str, Any]] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for index, part in enumerate(content):
        kind, text = part.get("type", "text"), part.get("text")
        if kind not in TEXT_PARTS or not isinstance(text, str):
            raise invalid(
                f"{where}.content[{index}] is of type {str(kind)[:64]!r}; this model reads parts of type text",
                f"{where}.content[{index}]",
            )
        texts.append(text)
    return "".join(texts)
