"""The chunks of a streamed chat completion, read into events and, at the end, into the reply.

Pure: the data of one event after another goes in. A call is complete when the server says so
(`espalier.completed_call`), at the latest when the turn ends in calls; one that the token budget closed never is.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from espalier.gateway.sdk.errors import StreamError
from espalier.gateway.sdk.event import ArgumentsDelta, CallReady, CallStarted, ModelEvent, ReasoningDelta, TextDelta
from espalier.gateway.sdk.message import CallMade, Function
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.usage import Usage


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(Struct, frozen=True):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(Struct, frozen=True):
    cached_tokens: int | None = None


class _CompletionDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Espalier(Struct, frozen=True):
    completed_call: str | None = None
    session_id: str | None = None
    turn_id: str | None = None
    cost: float | None = None


class Chunk(Struct, frozen=True):
    """One event of a streamed chat completion, as far as it is read."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    espalier: _Espalier | None = None


_DECODER = msgspec.json.Decoder(Chunk)


def read_chunk(data: str) -> Chunk:
    """The data of an event. Raises StreamError for what is no chunk."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise StreamError(f"an event is no chunk of a chat completion ({error}): {data[:200]!r}") from None


class _OpenCall:
    """A call while its arguments come."""

    def __init__(self, call_id: str, name: str) -> None:
        self.id, self.name, self.arguments = call_id, name, ""
        self.is_complete = False

    def ready(self, index: int) -> CallReady:
        self.is_complete = True
        return CallReady(index, self.id, self.name, self.arguments)


class ChunkReader:
    """Reads one turn."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._id = self._model = ""
        self._usage, self._told = _Usage(), _Espalier()

    def is_other(self, chunk: Chunk) -> bool:
        """Whether a chunk belongs to another answer than those before it."""
        return bool(self._id and chunk.id and self._id != chunk.id)

    def take(self, chunk: Chunk) -> list[ModelEvent]:
        """What a chunk adds. Raises StreamError for a call without a name."""
        self._id, self._model = chunk.id or self._id, chunk.model or self._model
        self._usage = chunk.usage or self._usage
        told = chunk.espalier or _Espalier()
        self._keep(told)
        events: list[ModelEvent] = []
        for choice in chunk.choices or ():
            events += self._delta(choice.delta or _Delta())
            self.finish_reason = choice.finish_reason or self.finish_reason
        is_end = self.finish_reason in ("tool_calls", "stop")
        for index, call in self._calls.items():
            if not call.is_complete and (is_end or call.id == told.completed_call):
                events.append(call.ready(index))
        return events

    def reply(self) -> Reply:
        """The whole turn. Raises StreamError for one that has no end."""
        if self.finish_reason is None:
            raise StreamError("the stream ended without a finish_reason")
        return Reply(
            text="".join(self._text),
            calls=tuple(
                CallMade(call.id, Function(call.name, call.arguments))
                for _, call in sorted(self._calls.items())
                if call.is_complete
            ),
            finish_reason=self.finish_reason,
            usage=self._whole_usage(),
            reasoning="".join(self._reasoning),
            id=self._id,
            model=self._model,
            turn_id=self._told.turn_id or "",
            session_id=self._told.session_id or "",
        )

    def _delta(self, delta: _Delta) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        if delta.reasoning_content:
            self._reasoning.append(delta.reasoning_content)
            events.append(ReasoningDelta(delta.reasoning_content))
        if delta.content:
            self._text.append(delta.content)
            events.append(TextDelta(delta.content))
        for part in delta.tool_calls or ():
            events += self._call(part, part.function or _Function())
        return events

    def _call(self, part: _CallDelta, function: _Function) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        call = self._calls.get(part.index)
        if call is None:
            if not function.name:
                raise StreamError(f"the call at index {part.index} begins without a name")
            call = self._calls[part.index] = _OpenCall(part.id or f"call_{part.index}", function.name)
            events.append(CallStarted(part.index, call.id, call.name))
        if function.arguments:
            call.arguments += function.arguments
            events.append(ArgumentsDelta(part.index, function.arguments))
        return events

    def _keep(self, told: _Espalier) -> None:
        """What earlier chunks said holds until a later one says otherwise."""
        old = self._told
        self._told = _Espalier(
            None,
            old.session_id if told.session_id is None else told.session_id,
            old.turn_id if told.turn_id is None else told.turn_id,
            old.cost if told.cost is None else told.cost,
        )

    def _whole_usage(self) -> Usage:
        usage = self._usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else 0
        return Usage(usage.prompt_tokens, cached or 0, usage.completion_tokens, reasoning or 0, self._told.cost)
