"""What a server says of its models and sessions, as far as it is read."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from espalier.gateway.sdk.message import CallMade, Function, Message, Role
from espalier.gateway.sdk.model import SessionTurn


class Named(Struct, frozen=True):
    """Anything with an id."""

    id: str


class Models(Struct, frozen=True):
    """Answer of GET /v1/models."""

    data: list[Named]


class SessionObject(Struct, frozen=True):
    """A session; `head` is its latest turn."""

    id: str
    head: str | None = None


class PlainFunction(Struct, frozen=True):
    """A call as chat templates read it: the arguments are an object, not its text."""

    name: str
    arguments: str | dict[str, object]

    def told(self) -> Function:
        """The same as messages carry it."""
        is_text = isinstance(self.arguments, str)
        return Function(self.name, str(self.arguments) if is_text else msgspec.json.encode(self.arguments).decode())


class PlainCall(Struct, frozen=True):
    """A call in a plain message."""

    function: PlainFunction
    id: str = ""


class PlainMessage(Struct, frozen=True):
    """A message as a session keeps it."""

    role: Role
    content: str | None = None
    tool_calls: tuple[PlainCall, ...] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    def told(self) -> Message:
        """The same as messages carry it."""
        calls = tuple(CallMade(call.id, call.function.told()) for call in self.tool_calls or ())
        return Message(self.role, self.content, calls, self.tool_call_id, self.reasoning_content)


class TurnObject(Struct, frozen=True):
    """A turn of a session."""

    id: str
    parent: str | None = None
    messages: tuple[PlainMessage, ...] = ()
    answer: PlainMessage | None = None
    finish_reason: str | None = None

    def told(self) -> SessionTurn:
        """The turn as agents read it."""
        answer = self.answer.told() if self.answer else None
        return SessionTurn(self.id, tuple(one.told() for one in self.messages), answer, self.finish_reason)


class TurnPage(Struct, frozen=True):
    """Turns of a session, one page of them."""

    data: list[TurnObject]
    has_more: bool = False
