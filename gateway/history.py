"""From the messages of a request to those a chat template reads, and which of them go when they are too many. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from espalier.gateway.errors import invalid
from espalier.gateway.wire.requests import Message

Plain = dict[str, Any]
# Where parts that are text have it. This server writes no refusals, but clients replay other servers'.
_TEXT_IN = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
# Templates know four roles.
_ROLES = {"developer": "system", "function": "tool"}


def plain_messages(messages: Sequence[Message]) -> list[Plain]:
    """Messages as templates read them. Raises ApiError for one that this model can't read."""
    if not messages:
        raise invalid("messages is empty; at least one message is needed", "messages")
    return [_plain(message, f"messages[{at}]") for at, message in enumerate(messages)]


def drop_oldest(messages: Sequence[Plain], fits: Callable[[list[Plain]], bool]) -> list[Plain] | None:
    """`messages` without the fewest oldest turns that make them fit; None where nothing helps.

    A turn is a user's message with all that answers it: neither an answer without its question nor a tool's result
    without its call is left over. System messages and the last turn stay. Asks `fits` log2(turns) times, because each
    time everything is rendered and encoded.
    """
    first = next((at for at, m in enumerate(messages) if m["role"] != "system"), 0)
    starts = [at for at, m in enumerate(messages) if at == first or m["role"] == "user"]

    def kept(turns: int) -> list[Plain]:
        return [m for at, m in enumerate(messages) if at >= starts[turns] or m["role"] == "system"]

    # The fewest turns to drop lie in [low, high].
    low, high = 1, len(starts) - 1
    if high < 1 or not fits(kept(high)):
        return None
    while low < high:
        middle = (low + high) // 2
        if fits(kept(middle)):
            high = middle
        else:
            low = middle + 1
    return kept(high)


def _plain(message: Message, where: str) -> Plain:
    plain: Plain = {"role": _ROLES.get(message.role, message.role), "content": _text(message.content, where)}
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
    for at, part in enumerate(content):
        kind, place = part.get("type", "text"), f"{where}.content[{at}]"
        name = _TEXT_IN.get(kind) if isinstance(kind, str) else None
        if name is None:
            raise invalid(f"{place} is of type {str(kind)[:64]!r}; this model reads parts of type 'text'", place)
        if not isinstance(text := part.get(name), str):
            raise invalid(f"{place}.{name} is missing or no string", f"{place}.{name}")
        texts.append(text)
    return "".join(texts)
