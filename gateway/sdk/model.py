"""The seam between an agent and whoever answers: a turn goes in, events come out; and the sessions behind it.

Two implementations: `sdk.client.Client` asks a server, `sdk.scripted_model.ScriptedModel` plays a script in your tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from espalier.gateway.sdk.event import ModelEvent
from espalier.gateway.sdk.message import Message
from espalier.gateway.sdk.schema import JsonObject
from espalier.gateway.sdk.tool import ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How answers are drawn; None leaves it to the server. `max_tokens` is for one turn.

    `tool_choice` is "auto", "none", "required" or the name of a tool; what it requires is required of a run's first
    turn only, since a model that always has to call would never answer.
    """

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The JSON Schema that an answer has to satisfy, and its name."""

    name: str
    schema: JsonObject


@dataclass(frozen=True, slots=True)
class Query:
    """One turn to be made. `key` is its idempotency key: the same query again is the same turn, not another.

    With a session, `messages` are only those that the session does not know yet, and `head` is the turn that they
    follow, where it is known: a session that went on without us refuses the query.
    """

    key: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    answer: AnswerFormat | None = None
    settings: Settings = field(default_factory=Settings)
    session_id: str | None = None
    head: str | None = None


@dataclass(frozen=True, slots=True)
class SessionTurn:
    """A turn that a session holds: what was new in it, and the model's answer, None while there is none."""

    id: str
    messages: tuple[Message, ...]
    answer: Message | None
    finish_reason: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the answer is calls whose results are awaited."""
        return self.answer is not None and bool(self.answer.tool_calls)


class Model(Protocol):
    """Whoever answers."""

    def opened(self) -> AbstractAsyncContextManager[object]:
        """Hold what is needed to ask (connections) for as long as a block runs."""
        ...

    def stream(self, query: Query) -> AsyncGenerator[ModelEvent, None]:
        """Make one turn; the last event is `Replied`. Raises ServerError, StreamError."""
        ...

    async def turns(self, session_id: str, *, last: int | None = None) -> tuple[SessionTurn, ...]:
        """The complete turns of a session, from its first to its tip, or the `last` so many of them; none where there
        is no such session yet. Raises ServerError.
        """
        ...

    async def fork(self, session_id: str, at: str | None = None) -> str:
        """A new session that shares the turns up to `at`, a turn's id (default the tip); its id. Raises ServerError."""
        ...

    async def rollback(self, session_id: str, to: str | None) -> None:
        """Forget the turns after `to`, all of them for None. Raises ServerError."""
        ...
