"""A streamed answer as a client reads it: from bytes to deltas, for any server that speaks the OpenAI API.

Pure: bytes go in, values come out. What a server leaves out (usage, an index, a delta) is simply absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from espalier.gateway.sdk import errors
from espalier.gateway.sdk.sse import EventReader, ServerEvent


class StreamError(Exception):
    """The stream holds an error of the server, or what is no event; `kind` is the server's code where it gave one."""

    def __init__(self, message: str, kind: str = "stream_error") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of a request as the server counted them."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event added: text, the end of the answer, the counts at the end of the stream."""

    text: str = ""
    finish_reason: str | None = None
    counts: Counts | None = None


class AnswerReader:
    """Reads the body of a streamed chat completion or completion; `is_done` after `[DONE]`."""

    def __init__(self) -> None:
        self._events = EventReader()
        self.is_done = False

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes. Raises StreamError."""
        deltas = []
        for event in self._read(data):
            if event.data == "[DONE]":
                self.is_done = True
            else:
                deltas.append(_delta(_json(event.data)))
        return deltas

    def _read(self, data: bytes) -> list[ServerEvent]:
        try:
            return self._events.feed(data)
        except errors.StreamError as error:
            raise StreamError(str(error)) from None


def counts_of(body: dict[str, Any]) -> Counts | None:
    """The usage of a whole answer or of an event, None where there is none."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Counts(
        prompt=int(usage.get("prompt_tokens") or 0),
        cached=int(details.get("cached_tokens") or 0),
        completion=int(usage.get("completion_tokens") or 0),
    )


def error_of(body: bytes) -> tuple[str, str]:
    """Kind and message of an error's body, whatever it is."""
    text = body[:500].decode(errors="replace")
    try:
        error = json.loads(body).get("error", {})
    except (ValueError, AttributeError):
        return "unknown", text
    if not isinstance(error, dict):
        return "unknown", str(error)
    return str(error.get("code") or error.get("type") or "unknown"), str(error.get("message") or text)


def _json(payload: str) -> dict[str, Any]:
    try:
        event = json.loads(payload)
    except ValueError:
        raise StreamError(f"an event is no JSON: {payload[:100]!r}") from None
    if not isinstance(event, dict):
        raise StreamError(f"an event is no object: {payload[:100]!r}")
    if event.get("error"):
        kind, message = error_of(payload.encode())
        raise StreamError(message, kind)
    return event


def _delta(event: dict[str, Any]) -> Delta:
    choices = event.get("choices") or [{}]
    choice = choices[0]
    delta = choice.get("delta") or {}
    text = choice.get("text") or (delta.get("reasoning_content") or "") + (delta.get("content") or "")
    return Delta(text, choice.get("finish_reason"), counts_of(event))
