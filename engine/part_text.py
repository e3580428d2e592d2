"""From parse events, which are bytes, to what travels: parts in whole characters, cut where a stop string ends them.

A character whose bytes are not all there yet is held back, and in a part where stop strings are looked for, what may
still become one. Both are told at the latest when the part ends. Bytes of parts without a name are dropped.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from espalier.engine.messages import PartBegun, PartEnded, PartEvent, PartText, SamplingParams
from espalier.engine.stop import StopMatcher
from espalier.grammar import Begun, Event, Piece


class PartTexts:
    """The parts of one answer. Nothing is fed any more after `feed` or `finish` returned a stop string."""

    __slots__ = ("_decoder", "_matcher", "_params", "_part", "_told")

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matcher: StopMatcher | None = None
        self._part: str | None = None  # the one that has begun and not ended
        self._told: list[PartEvent] = []

    def feed(self, events: Iterable[Event], num_tokens: int, *, by_budget: bool) -> str | None:
        """Read what the token turned out to be that is the answer's `num_tokens`-th; the stop string that ended it."""
        may_stop = num_tokens > self._params.min_tokens
        for event in events:
            if isinstance(event, Begun):
                self._begin(event.part)
            elif isinstance(event, Piece):
                if event.part is not None and (stop := self._add(event.text, may_stop)) is not None:
                    return stop
            else:
                self._end()
                self._told.append(PartEnded(event.part, num_tokens, by_budget))
        return None

    def finish(self, events: Iterable[Event], num_tokens: int, *, by_budget: bool) -> str | None:
        """Read what was open as long as the answer might have gone on, and tell what was held back."""
        stop = self.feed(events, num_tokens, by_budget=by_budget)
        if stop is None:
            self._end()
        return stop

    def is_searched(self, events: Iterable[Event]) -> bool:
        """Whether a token that turned out to be these lies in a part where stops are looked for."""
        searched = self._params.stop_in
        parts = {self._part, *(event.part for event in events if isinstance(event, Begun))}
        return searched is None or not parts.isdisjoint(searched)

    def take(self) -> tuple[PartEvent, ...]:
        """What was told since the last call."""
        told, self._told = tuple(self._told), []
        return told

    def _begin(self, part: str) -> None:
        params = self._params
        is_searched = params.stop and (params.stop_in is None or part in params.stop_in)
        self._matcher = StopMatcher(params.stop, include=params.include_stop_text) if is_searched else None
        self._decoder.reset()
        self._part = part
        self._told.append(PartBegun(part))

    def _add(self, data: bytes, may_stop: bool) -> str | None:
        text, stop = self._decoder.decode(data), None
        if self._matcher is not None and may_stop:
            text, stop = self._matcher.feed(text)
        self._tell(text)
        return stop

    def _end(self) -> None:
        held = "" if self._matcher is None else self._matcher.flush()
        self._tell(held + self._decoder.decode(b"", final=True))
        self._part = None

    def _tell(self, text: str) -> None:
        if text and self._part is not None:
            self._told.append(PartText(self._part, text))
