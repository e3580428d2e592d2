"""Parse events: which part of its constraint each byte of an answer belongs to, so that nobody parses it again.

While two readings are alive that name the part of a byte differently, the events from there on are held back until one
of them is over. So are the bytes that may be the beginning of the marker that ends a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from espalier.grammar.part import UntilState
from espalier.grammar.thread import Frame, Thread
from espalier.grammar.trie import common_length


@dataclass(frozen=True, slots=True)
class Begun:
    """A named part begins; it comes with the part's first byte or special token."""

    part: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a part, `None` if it has no name. A marker that ends a text is not among them."""

    part: str | None
    text: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A named part is over."""

    part: str


Event: TypeAlias = Begun | Piece | Ended


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """What one thread would tell and nobody was told. `at` is the part that has begun and not ended."""

    events: tuple[Event, ...] = ()
    at: Frame | None = None

    @classmethod
    def of(cls, thread: Thread, is_begun: bool, events: tuple[Event, ...]) -> Trail:
        """Of a thread that has that to tell; whether its part has begun."""
        return cls(events, _origin(thread) if is_begun else None)

    def read(self, reader: Thread, byte: int, after: Thread) -> Trail:
        """Behind a byte that a thread read."""
        origin = _origin(reader)
        begun = self._begin(origin)
        if isinstance(reader.state, UntilState) and _origin(after) is not origin:
            told = _without(begun.events, reader.state.num_read)  # the beginning of the marker was held back
        else:
            told = _extended(begun.events, None if origin is None else origin.part, byte)
        return Trail(told, begun.at)._leave(origin, after)

    def pass_special(self, reader: Thread, after: Thread) -> Trail:
        """Behind a special token that a thread read."""
        origin = _origin(reader)
        return self._begin(origin)._leave(origin, after)

    def _begin(self, origin: Frame | None) -> Trail:
        if self.at is origin or origin is None or origin.part is None:
            return self
        return Trail((*self.events, Begun(origin.part)), origin)

    def _leave(self, origin: Frame | None, after: Thread) -> Trail:
        if _origin(after) is origin or origin is None or origin.part is None:
            return self
        return Trail((*self.events, Ended(origin.part)))


Told: TypeAlias = tuple[tuple[bool, tuple[Event, ...]], ...]
"""Of each thread whether its part has begun, and what it has yet to tell: equal threads then tell alike."""
MOST_HELD = 24  # events and bytes yet to be told, of all threads: places with more are no two alike


def told_of(trails: Sequence[Trail]) -> Told | None:
    """That of trails; None if much is yet to be told."""
    held = sum(
        len(event.text) if isinstance(event, Piece) else 1 for trail in trails if trail.events for event in trail.events
    )
    return None if held > MOST_HELD else tuple((trail.at is not None, trail.events) for trail in trails)


def _origin(thread: Thread) -> Frame | None:
    return None if thread.frame is None else thread.frame.origin


def _extended(events: tuple[Event, ...], part: str | None, byte: int) -> tuple[Event, ...]:
    """With one more byte."""
    last = events[-1] if events else None
    if isinstance(last, Piece) and last.part == part:
        return (*events[:-1], Piece(part, last.text + bytes([byte])))
    return (*events, Piece(part, bytes([byte])))


def _without(events: tuple[Event, ...], num_bytes: int) -> tuple[Event, ...]:
    """Without the last bytes, all of one piece."""
    last = events[-1] if events else None
    if not num_bytes or not isinstance(last, Piece):
        return events
    text = last.text[: len(last.text) - num_bytes]
    return (*events[:-1], Piece(last.part, text)) if text else events[:-1]


def settle(threads: Sequence[Thread], trails: Sequence[Trail]) -> tuple[tuple[Event, ...], tuple[Trail, ...]]:
    """What all threads tell alike, and their trails without it."""
    certain = [
        _without(trail.events, thread.state.num_read) if isinstance(thread.state, UntilState) else trail.events
        for thread, trail in zip(threads, trails, strict=True)
    ]
    told = certain[0]
    for events in certain[1:]:
        told = _common(told, events)
    if not told:
        return (), tuple(trails)
    return told, tuple(Trail(_behind(trail.events, told), trail.at) for trail in trails)


def _common(left: tuple[Event, ...], right: tuple[Event, ...]) -> tuple[Event, ...]:
    """With what both begin."""
    num = 0
    while num < min(len(left), len(right)) and left[num] == right[num]:
        num += 1
    found = left[:num]
    if num < min(len(left), len(right)):
        one, other = left[num], right[num]
        if isinstance(one, Piece) and isinstance(other, Piece) and one.part == other.part:
            text = one.text[: common_length(one.text, other.text)]
            return (*found, Piece(one.part, text)) if text else found
    return found


def _behind(events: tuple[Event, ...], told: tuple[Event, ...]) -> tuple[Event, ...]:
    """What comes behind a beginning."""
    last = told[-1]
    rest = events[len(told) :]
    here = events[len(told) - 1]
    if isinstance(last, Piece) and isinstance(here, Piece) and len(here.text) > len(last.text):
        return (Piece(here.part, here.text[len(last.text) :]), *rest)
    return rest
