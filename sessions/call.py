"""Tool calls and their results, as they stand in messages that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from espalier.sessions.value import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class Call:
    """A call that an answer makes; `arguments` is canonical JSON, or the text itself where that is no JSON."""

    call_id: str
    name: str
    arguments: str


def calls_of(message: JsonObject | None) -> tuple[Call, ...]:
    """The calls of an assistant's message."""
    calls = (message or {}).get("tool_calls")
    return tuple(_call(call) for call in calls if isinstance(call, dict)) if isinstance(calls, list) else ()


def results_of(messages: Iterable[JsonObject]) -> dict[str, str]:
    """Results of calls by call id."""
    return {str(m["tool_call_id"]): text_of(m) for m in messages if m.get("role") == "tool" and m.get("tool_call_id")}


def text_of(message: JsonObject) -> str:
    """A message's text, whether it stands as a string, in parts, or is absent."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def canonical(value: JsonValue) -> str:
    """One spelling for all texts of the same JSON value: arguments are compared by what they say."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> float | int:
    """A whole number is an integer however it is written: JavaScript writes 1.0 as 1."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _call(call: JsonObject) -> Call:
    function = call.get("function")
    told: JsonObject = function if isinstance(function, dict) else {}
    return Call(str(call.get("id") or ""), str(told.get("name") or ""), canonical(told.get("arguments") or "{}"))
