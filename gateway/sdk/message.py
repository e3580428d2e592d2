"""What is said in a conversation, as chat completions carry it; the same structs travel and stand in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Function(Struct, frozen=True):
    """The tool of a call, and its arguments as the text of a JSON object."""

    name: str
    arguments: str


class CallMade(Struct, frozen=True, tag_field="type", tag="function"):
    """A call in an assistant's message."""

    id: str
    function: Function


class Message(Struct, frozen=True, omit_defaults=True):
    """One message."""

    role: Role
    content: str | None = None
    tool_calls: tuple[CallMade, ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None


Prompt: TypeAlias = str | Sequence[Message]


def system(text: str) -> Message:
    """What the model is to be."""
    return Message("system", text)


def user(text: str) -> Message:
    """What a person says."""
    return Message("user", text)


def assistant(text: str) -> Message:
    """What the model said, for a conversation that began elsewhere."""
    return Message("assistant", text)


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """A prompt as messages: a text is what the user says."""
    return (user(prompt),) if isinstance(prompt, str) else tuple(prompt)
