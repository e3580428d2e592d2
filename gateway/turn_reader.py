"""From the engine's outputs of one answer to what the answer is made of. Pure; nothing is parsed.

The grammar has told of each piece which part it is (the names are those of `turn_constraint`); here parts become events
that any API can show. White space that only sets parts apart (before a call, around reasoning) is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from espalier.engine.messages import Output, PartBegun, PartEnded, PartEvent, PartText, TokenLogprob, Usage
from espalier.gateway.answer_event import (
    AnswerEvent,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
)
from espalier.gateway.python_literal import JsonWords

_TEXTS = ("text", "answer")


@dataclass(slots=True)
class _Call:
    index: int
    call_id: str
    name: str = ""
    key: str = ""  # of an argument whose value comes next
    pieces: list[str] = field(default_factory=list)
    words: JsonWords = field(default_factory=JsonWords)


class TurnReader:
    """Reads the outputs of one answer in order; `new_call_id` gives each call its id. Without parts, all is text."""

    def __init__(self, new_call_id: Callable[[], str], *, has_parts: bool = True) -> None:
        self._new_call_id, self._has_parts = new_call_id, has_parts
        self._part: str | None = None  # the one that has begun and not ended
        self._last_part: str | None = None
        self._space = ""  # held back at the end of a text or of reasoning
        self._is_at_start = True  # of the text or of the reasoning
        self._had_reasoning = False
        self._reasoning_tokens = 0
        self._calls = self._calls_ended = 0
        self._call = _Call(0, "")
        self._logprobs: tuple[TokenLogprob, ...] = ()

    def read(self, output: Output) -> list[AnswerEvent]:
        """What an output adds: see `answer_event` for the order. The last output's events end with `Finished`."""
        if not self._has_parts:
            events: list[AnswerEvent] = self._plain(output)
        else:
            self._logprobs = tuple(output.logprobs or ())
            events = [event for part in output.parts for event in self._read(part)]
            if self._logprobs and self._part in _TEXTS:
                events.append(TextDelta("", self._take_logprobs()))
        if output.finish_reason is not None:
            events += self._finish(output)
        return events

    def usage(self, output: Output) -> Usage:
        """The tokens of an answer up to an output that was just read."""
        is_thinking = self._part == "reasoning"
        count = output.usage.completion_tokens if is_thinking else self._reasoning_tokens
        return msgspec.structs.replace(output.usage, reasoning_tokens=count)

    def _plain(self, output: Output) -> list[AnswerEvent]:
        logprobs = tuple(output.logprobs or ())
        return [TextDelta(output.text, logprobs)] if output.text or logprobs else []

    def _read(self, event: PartEvent) -> Iterator[AnswerEvent]:
        if isinstance(event, PartBegun):
            self._part = self._last_part = event.part
            self._begin(event.part)
        elif isinstance(event, PartText):
            yield from self._add(event.part, event.text)
        else:
            self._part = None
            yield from self._end(event)

    def _begin(self, part: str) -> None:
        self._space = ""
        if part in ("text", "reasoning"):
            self._is_at_start = True
        elif part == "name":
            self._call = _Call(self._calls, self._new_call_id())
            self._calls += 1

    def _add(self, part: str, text: str) -> Iterator[AnswerEvent]:
        if part in ("text", "reasoning"):
            yield from self._trimmed(part, text)
        elif part == "answer":
            yield TextDelta(text, self._take_logprobs())
        elif part == "name":
            self._call.name += text
        elif part == "key":
            self._call.key += text
        elif part == "arguments":
            yield self._told(text)
        elif part == "value":
            yield self._told(self._call.words.feed(text))

    def _end(self, event: PartEnded) -> Iterator[AnswerEvent]:
        call = self._call
        if event.part == "reasoning":
            self._had_reasoning, self._space, self._reasoning_tokens = True, "", event.num_tokens
        elif event.part == "name":
            yield CallBegun(call.index, call.call_id, call.name)
        elif event.part == "key":
            yield self._told((", " if call.pieces else "{") + json.dumps(call.key) + ": ")
            call.key = ""
        elif event.part == "close":
            yield self._told("}" if call.pieces else "{}")
        if event.part in ("arguments", "close"):
            yield from self._end_call(call, event)

    def _end_call(self, call: _Call, event: PartEnded) -> Iterator[AnswerEvent]:
        """A call whose end the budget decided is not told to be over: nobody may run it."""
        if not event.by_budget:
            self._calls_ended += 1
            yield CallEnded(call.index, call.call_id, call.name, "".join(call.pieces))

    def _told(self, text: str) -> ArgumentsDelta:
        self._call.pieces.append(text)
        return ArgumentsDelta(self._call.index, text)

    def _trimmed(self, part: str, text: str) -> Iterator[AnswerEvent]:
        """A text without white space at its ends, as far as that sets it apart from what it stands beside."""
        if self._is_at_start and (part == "reasoning" or self._had_reasoning):
            text = text.lstrip("\n")
        text = self._space + text
        kept = text.rstrip()
        self._space = text[len(kept) :]
        if kept:
            self._is_at_start = False
            yield ReasoningDelta(kept) if part == "reasoning" else TextDelta(kept, self._take_logprobs())

    def _take_logprobs(self) -> tuple[TokenLogprob, ...]:
        taken, self._logprobs = self._logprobs, ()
        return taken

    def _finish(self, output: Output) -> Iterator[AnswerEvent]:
        if self._space and self._last_part == "text":
            yield TextDelta(self._space)
        if self._part == "reasoning":
            self._reasoning_tokens = output.usage.completion_tokens
        self._space, self._part = "", None
        yield Finished(
            reason=self._reason(output),
            usage=self.usage(output),
            stop_reason=output.stop_reason,
            closed_by_budget=output.closed_by_budget,
            timings=output.timings,
            missed=output.missed,
        )

    def _reason(self, output: Output) -> FinishReason:
        if output.finish_reason == "length" or output.closed_by_budget:
            return "length"
        return "tool_calls" if self._calls_ended else "stop"
