"""The answer to one chat request as chat completions show it, whole and in chunks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Literal

from msgspec import UNSET, UnsetType

from espalier.engine.messages import TokenLogprob
from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway.answer_event import (
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    ReasoningDelta,
    TextDelta,
)
from espalier.gateway.answer_text import Gathered
from espalier.gateway.extras import at_end, merged
from espalier.gateway.service import Prepared, Service, Told, total_usage
from espalier.gateway.wire import answers
from espalier.gateway.wire.answers import (
    AnsweredCall,
    AssistantMessage,
    CallDelta,
    CalledFunction,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
    Extras,
    FunctionDelta,
    finite,
)
from espalier.gateway.wire.requests import ChatRequest, StreamOptions

MaybeUsage = answers.Usage | UnsetType | None
Tap = Callable[[Told], None]


def _ignore(told: Told) -> None:
    """Nobody else wants to know."""


class ChatAnswer:
    """The answer to one chat request, being made."""

    def __init__(self, service: Service, request: ChatRequest, prepared: Prepared) -> None:
        self._service, self._request, self._prepared = service, request, prepared
        self._jobs = [prepared.job]
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(service.clock())
        self._latest: dict[int, EngineUsage] = {}

    @property
    def answer_id(self) -> str:
        """What the answer is called."""
        return self._id

    async def whole(self, tap: Tap = _ignore) -> ChatCompletion:
        """All answers, complete. `tap` sees each event first."""
        found = {index: Gathered() for index in range(self._request.n)}
        async with aclosing(self._service.answer_events(self._jobs)) as told:
            async for one in told:
                tap(one)
                self._latest[one.at] = one.usage
                found[one.at].add(one.event)
        choices = [self._choice(index, gathered) for index, gathered in found.items()]
        finished = found[0].finished
        extras = self._extras() if finished is None else self._at_end(finished)
        usage = total_usage(self._jobs, self._latest)
        return ChatCompletion(self._id, self._created, self._service.model, choices, usage, espalier=extras)

    async def chunks(self, tap: Tap = _ignore) -> AsyncGenerator[ChatChunk, None]:
        """The answers as a stream of chunks, the first one of index 0. `tap` sees each event first."""
        options = self._request.stream_options or StreamOptions()
        continuous = bool(options.continuous_usage_stats)
        between: MaybeUsage = None if options.include_usage else UNSET
        async with aclosing(self._service.answer_events(self._jobs)) as told:
            async for one in told:
                tap(one)
                if one.at != 0 and not self._latest:
                    self._latest[0] = EngineUsage(len(self._jobs[0].token_ids))
                    yield self._chunk([ChunkChoice(0, Delta("assistant", ""))], between)
                is_first = one.at not in self._latest
                self._latest[one.at] = one.usage
                usage = total_usage(self._jobs, self._latest) if continuous else between
                yield self._chunk([self._delta(one, is_first)], usage, one)
        if options.include_usage:
            yield self._chunk([], total_usage(self._jobs, self._latest))

    def _choice(self, index: int, gathered: Gathered) -> ChatChoice:
        finished = gathered.finished
        assert finished is not None
        calls = [AnsweredCall(call.call_id, CalledFunction(call.name, call.arguments)) for call in gathered.calls]
        message = AssistantMessage(
            None if calls and not gathered.text else gathered.text,
            tool_calls=calls or UNSET,
            reasoning_content=gathered.reasoning or UNSET,
        )
        logprobs = answers.ChatLogprobs(self._content(gathered.logprobs)) if self._request.logprobs else None
        return ChatChoice(index, message, finished.reason, logprobs, finished.stop_reason)

    def _delta(self, told: Told, is_first: bool) -> ChunkChoice:
        event = told.event
        role: Literal["assistant"] | UnsetType = "assistant" if is_first else UNSET
        match event:
            case TextDelta(text=text, logprobs=entries):
                logprobs = answers.ChatLogprobs(self._content(entries)) if entries else None
                return ChunkChoice(told.at, Delta(role, text), logprobs=logprobs)
            case Finished(reason=reason, stop_reason=stop):
                content = "" if is_first else UNSET
                return ChunkChoice(told.at, Delta(role, content), reason, stop_reason=UNSET if stop is None else stop)
            case ReasoningDelta(text=text):
                return ChunkChoice(told.at, Delta(role, reasoning_content=text))
            case _:
                return ChunkChoice(told.at, Delta(role, tool_calls=[_call_delta(event)]))

    def _chunk(self, choices: list[ChunkChoice], usage: MaybeUsage, told: Told | None = None) -> ChatChunk:
        event = None if told is None else told.event
        if told is not None and told.at == 0 and isinstance(event, Finished):
            extras = self._at_end(event)
        else:
            extras = self._extras(event.call_id if isinstance(event, CallEnded) else None)
        return ChatChunk(self._id, self._created, self._service.model, choices, usage=usage, espalier=extras)

    def _at_end(self, finished: Finished) -> Extras | UnsetType:
        return merged(self._extras(), at_end(self._service, self._prepared, finished))

    def _extras(self, completed_call: str | None = None) -> Extras | UnsetType:
        truncation, coverage = self._prepared.prompt.truncation, self._prepared.coverage
        extras = Extras(truncation, coverage, completed_call)
        return UNSET if extras == Extras() else extras

    def _content(self, entries: Iterable[TokenLogprob]) -> list[answers.ContentLogprob]:
        spell = self._service.prompter.tokenizer.spelling
        return [
            answers.ContentLogprob(
                *spell(entry.token_id, finite(entry.logprob)),
                [answers.TopLogprob(*spell(top.token_id, finite(top.logprob))) for top in entry.top],
            )
            for entry in entries
        ]


def _call_delta(event: CallBegun | ArgumentsDelta | CallEnded) -> CallDelta:
    if isinstance(event, CallBegun):
        return CallDelta(event.index, event.call_id, "function", FunctionDelta(event.name))
    return CallDelta(event.index, function=FunctionDelta(arguments="" if isinstance(event, CallEnded) else event.text))
