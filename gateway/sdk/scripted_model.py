"""A model that plays a script: for tests of your agents, without a server and without a network.

    model = ScriptedModel([call("weather", city="Oslo"), "Take an umbrella."])
    run = Agent(model, tools=[weather]).run_sync("Oslo?")
    assert model.queries[1].messages[-1].content == "rain"

It keeps sessions in memory, forks and all, and answers a repeated key with what it answered before, as the server does.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from espalier.gateway.sdk.errors import RefusedError
from espalier.gateway.sdk.event import ArgumentsDelta, CallReady, CallStarted, ModelEvent, Replied, TextDelta
from espalier.gateway.sdk.message import CallMade, Function
from espalier.gateway.sdk.model import Query, SessionTurn
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.shape import encode_json
from espalier.gateway.sdk.usage import Usage


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call that the script makes; made by `call`."""

    name: str
    arguments: str


Line: TypeAlias = "str | ScriptedCall | Sequence[ScriptedCall] | Reply | Exception"
Script: TypeAlias = Iterable[Line] | Callable[[Query], Line]


def call(name: str, /, **arguments: object) -> ScriptedCall:
    """A call of a tool, as a line of a script; several in a list are made in one turn."""
    return ScriptedCall(name, encode_json(arguments))


class ScriptedModel:
    """Plays a script: one line a turn, or what a function says to each query; an exception is raised.

    A line is a text, a call or several, or a whole `Reply`. `queries` is what was asked. Raises AssertionError when it
    is asked more often than there are lines.
    """

    def __init__(self, script: Script) -> None:
        if callable(script):
            self._next = script
        else:
            lines = iter(script)
            self._next = lambda query: _after(lines, query)
        self.queries: list[Query] = []
        self._call_numbers = itertools.count(1)
        self._turn_numbers = itertools.count(1)
        self._session_numbers = itertools.count(1)
        self._sessions: dict[str, tuple[SessionTurn, ...]] = {}
        self._replies: dict[str, Reply] = {}

    def opened(self) -> AbstractAsyncContextManager[object]:
        """See `Model.opened`; there is nothing to hold."""
        return nullcontext()

    async def stream(self, query: Query) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`; a text comes word by word."""
        reply = self._replies.get(query.key)
        if reply is None:
            self.queries.append(query)
            reply = self._replies[query.key] = self._keep(query, self._reply(self._next(query)))
        for word in _words(reply.text):
            yield TextDelta(word)
        for index, made in enumerate(reply.calls):
            yield CallStarted(index, made.id, made.function.name)
            yield ArgumentsDelta(index, made.function.arguments)
            yield CallReady(index, made.id, made.function.name, made.function.arguments)
        yield Replied(reply)

    async def turns(self, session_id: str, *, last: int | None = None) -> tuple[SessionTurn, ...]:
        """See `Model.turns`."""
        return self._sessions.get(session_id, ())[-last if last else 0 :]

    async def fork(self, session_id: str, at: str | None = None) -> str:
        """See `Model.fork`."""
        fork_id = f"{session_id}-fork-{next(self._session_numbers)}"
        self._sessions[fork_id] = self._upto(session_id, at)
        return fork_id

    async def rollback(self, session_id: str, to: str | None) -> None:
        """See `Model.rollback`."""
        self._sessions[session_id] = self._upto(session_id, to) if to else ()

    def _upto(self, session_id: str, at: str | None) -> tuple[SessionTurn, ...]:
        turns = self._sessions.get(session_id)
        if turns is None:
            raise RefusedError(f"there is no session {session_id!r}", status=404, code="session_not_found")
        if at is None:
            return turns
        for number, turn in enumerate(turns, 1):
            if turn.id == at:
                return turns[:number]
        raise RefusedError(f"the session has no turn {at!r}", status=404, code="turn_not_found")

    def _reply(self, line: Line) -> Reply:
        match line:
            case Reply():
                return line
            case str():
                return Reply(line, usage=Usage(completion_tokens=len(line.split())))
            case ScriptedCall():
                return self._calls([line])
            case Exception():
                raise line
            case _:
                return self._calls(line)

    def _calls(self, calls: Sequence[ScriptedCall]) -> Reply:
        made = [CallMade(f"call_{next(self._call_numbers)}", Function(one.name, one.arguments)) for one in calls]
        return Reply(calls=tuple(made), finish_reason="tool_calls", usage=Usage(completion_tokens=len(calls)))

    def _keep(self, query: Query, reply: Reply) -> Reply:
        if query.session_id is None:
            return reply
        reply = msgspec.structs.replace(reply, turn_id=f"turn_{next(self._turn_numbers)}", session_id=query.session_id)
        turn = SessionTurn(reply.turn_id, query.messages, reply.message(), reply.finish_reason)
        self._sessions[query.session_id] = (*self._sessions.get(query.session_id, ()), turn)
        return reply


def _after(lines: Iterable[Line], query: Query) -> Line:
    for line in lines:
        return line
    raise AssertionError(f"the script has ended, and the model is asked: {query.messages[-1]}")


def _words(text: str) -> list[str]:
    parts = text.split(" ")
    return [f"{part} " for part in parts[:-1]] + parts[-1:] if text else []
