"""A chat completion that outlives its connection: a live turn writes its chunks into a log, and the session's store.

What tells the end of an answer is told when the answer is on disk, never before. A failure before the first chunk is
raised, so that it becomes a status; after it, it is told in the stream. What is cut short is rolled back.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from espalier.engine.errors import EngineError
from espalier.gateway.answer_text import Gathered
from espalier.gateway.chat_answer import ChatAnswer
from espalier.gateway.engine_client import EngineClient
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.event_log import EventLog
from espalier.gateway.extras import merged
from espalier.gateway.history import plain_messages
from espalier.gateway.live_turn import ended_early, unhurried
from espalier.gateway.service import Told
from espalier.gateway.session_errors import from_session
from espalier.gateway.session_lease import hold
from espalier.gateway.sse import UNNAMED, event
from espalier.gateway.wire.answers import ChatChunk, ChatCompletion, Extras
from espalier.gateway.wire.requests import Function, Message, ToolCall
from espalier.sessions import Completion, JsonObject, Sessions, Turn
from espalier.sessions.errors import SessionError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is stored: a running turn, the engine that keeps its state, and what the answer says of it."""

    sessions: Sessions
    client: EngineClient
    turn: Turn
    extras: Extras


@dataclass(slots=True)
class _Said:
    """What the model has said, as a message and as tokens."""

    gathered: Gathered = field(default_factory=Gathered)
    token_ids: list[int] = field(default_factory=list)

    def add(self, told: Told) -> None:
        self.gathered.add(told.event)
        self.token_ids += told.token_ids

    def message(self) -> JsonObject:
        gathered = self.gathered
        calls = [ToolCall(Function(call.name, call.arguments), call.call_id) for call in gathered.calls]
        text, reasoning = gathered.text, gathered.reasoning or None
        return plain_messages([Message("assistant", text, tool_calls=calls or None, reasoning_content=reasoning)])[0]


class ChatRun:
    """Makes one answer; `place` is None for one that is not stored. `whole` is the answer, where it is not streamed."""

    def __init__(self, answer: ChatAnswer, place: Place | None, *, is_streamed: bool) -> None:
        self._answer, self._place, self.is_streamed = answer, place, is_streamed
        self._said = _Said()
        self.whole = b""

    async def produce(self, log: EventLog) -> None:
        """Make it. Raises ApiError for what failed, told in the log or not."""
        try:
            last = await (self._stream(log) if self.is_streamed else self._gather())
        except asyncio.CancelledError:
            await self._roll_back()
            self._failed(log, ended_early())
            raise
        except (ApiError, EngineError) as error:
            await self._roll_back()
            raise self._failed(log, from_engine(error) if isinstance(error, EngineError) else error) from None
        if self._place is not None:
            await self._store(self._place, log, last)
        for frame in last:
            log.append(frame)

    async def _stream(self, log: EventLog) -> list[bytes]:
        """Write the chunks up to the one that ends the answer; returns that one and what follows it."""
        last: list[bytes] = []
        async with aclosing(self._answer.chunks(self._tap)) as chunks:
            async for chunk in chunks:
                is_end = any(choice.finish_reason for choice in chunk.choices)
                frame = event(self._placed(chunk) if is_end or not log.next else chunk)
                if self._place is not None and (last or is_end):
                    last.append(frame)
                else:
                    log.append(frame)
        return last

    async def _gather(self) -> list[bytes]:
        self.whole = msgspec.json.encode(self._placed(await self._answer.whole(self._tap)))
        return []

    def _tap(self, told: Told) -> None:
        if told.at == 0:
            self._said.add(told)

    def _placed(self, answer: ChatChunk | ChatCompletion) -> ChatChunk | ChatCompletion:
        """The answer with what it says of its turn."""
        if self._place is None:
            return answer
        return msgspec.structs.replace(answer, espalier=merged(answer.espalier, self._place.extras))

    async def _store(self, place: Place, log: EventLog, last: list[bytes]) -> None:
        """An answer that is whole is not given up any more, whoever leaves."""
        finished = self._said.gathered.finished
        completion = Completion(
            self._said.message(),
            tuple(self._said.token_ids),
            None if finished is None else finished.reason,
            self.whole,
            () if log.first else (*log.events, *last),
        )
        storing = asyncio.ensure_future(place.sessions.complete(place.turn.tenant, place.turn.id, completion))
        try:
            hold(place.client, place.sessions, await unhurried(storing))
        except SessionError as error:
            raise self._failed(log, from_session(error)) from None

    async def _roll_back(self) -> None:
        if self._place is not None:
            # The store may take no writes; on its next start it rolls back by itself.
            with contextlib.suppress(SessionError):
                await self._place.sessions.interrupt(self._place.turn.tenant, self._place.turn.id)

    def _failed(self, log: EventLog, error: ApiError) -> ApiError:
        if log.next:
            log.append(UNNAMED.fail(error))
        return error
