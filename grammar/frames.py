"""The frames of one grammar's JSON values, and the state in which a value begins: its first byte says its kind."""

from __future__ import annotations

from collections.abc import Hashable

from espalier.grammar.array_frame import ArrayFrame
from espalier.grammar.choice import Vector
from espalier.grammar.enum_core import enum_frame
from espalier.grammar.formula import FALSE, Formula, Space
from espalier.grammar.kind import Kind, Part
from espalier.grammar.limits import Limits
from espalier.grammar.number_frame import NumberMachine, number_machine
from espalier.grammar.number_set import NumberSet
from espalier.grammar.object_frame import ObjectFrame
from espalier.grammar.schema import typed
from espalier.grammar.search import Search
from espalier.grammar.spelling import Spelling
from espalier.grammar.state import Outcome, Pop, State, Step
from espalier.grammar.text import Language
from espalier.grammar.text_frame import languages_frame

_KIND_OF = {
    **dict.fromkeys(b"-0123456789", Kind.NUMBER),
    ord('"'): Kind.STRING,
    ord("["): Kind.ARRAY,
    ord("{"): Kind.OBJECT,
}
_LITERALS = (Kind.NULL, Kind.TRUE, Kind.FALSE)


class Frames:
    """Makes frames, each once; what it makes is kept as long as the grammar.

    `quoted` are the names that a single token of the vocabulary can say from end to end.
    """

    def __init__(self, space: Space, spelling: Spelling, limits: Limits, quoted: frozenset[str] = frozenset()) -> None:
        self.space, self.spelling, self.limits, self.quoted = space, spelling, limits, quoted
        self.search = Search(space, limits)
        self.any_escapes = spelling.escapes == "any"
        self.kind_of = _KIND_OF | {ord(spelling.word(kind.value)[0]): kind for kind in _LITERALS}
        self.first_bytes = bytes(sorted(self.kind_of))
        self.arrays = ArrayFrame(self)
        self._objects: dict[Vector, ObjectFrame] = {}
        self._values: dict[Vector, ValueState] = {}

    @property
    def num_states(self) -> int:
        """States of values, arrays and objects made so far; strings and numbers belong to the process."""
        return len(self._values) + self.arrays.num_states + sum(found.num_states for found in self._objects.values())

    def value(self, shapes: Vector) -> ValueState:
        """The start of a value that has one of some shapes, no value having two: the outcome is its shape's number."""
        found = self._values.get(shapes)
        if found is None:
            found = self._values[shapes] = ValueState(self, shapes)
        return found

    def object(self, vector: Vector) -> ObjectFrame:
        """The frame of objects that begin with a vector."""
        found = self._objects.get(vector)
        if found is None:
            found = self._objects[vector] = ObjectFrame(self, vector)
        return found


class ValueState(State):
    """Before a value."""

    __slots__ = ("_frames", "_numbers", "_shapes")

    def __init__(self, frames: Frames, shapes: Vector) -> None:
        super().__init__()
        self._frames, self._shapes = frames, shapes
        self._numbers: NumberMachine | None = None

    def _parts(self, kind: Kind) -> list[Part]:
        """What each shape says about a kind."""
        return [typed(shape, kind, self._frames.space) for shape in self._shapes]

    def make(self, byte: int) -> Step:
        """The frame of the kind that begins with the byte."""
        kind = self._frames.kind_of.get(byte)
        if kind is None:
            return None
        if kind is Kind.NUMBER:
            return self._number(byte)
        parts = self._parts(kind)
        if kind is Kind.STRING:
            return self._string(tuple(part for part in parts if isinstance(part, Language)))
        vector = tuple(part if isinstance(part, Formula) else FALSE for part in parts)
        if kind is Kind.ARRAY:
            return self._frames.arrays.start(vector)
        if kind is Kind.OBJECT:
            return self._frames.object(vector).start(vector)
        outcome = next((index for index, part in enumerate(parts) if part is True), None)
        word = self._frames.spelling.word(kind.value)
        return None if outcome is None else LiteralState(word.encode(), 1, outcome)

    def _string(self, languages: tuple[Language, ...]) -> State | None:
        """Texts that are few and plain are read by their trie."""
        limits, any_escapes = self._frames.limits, self._frames.any_escapes
        frame = None if any_escapes else enum_frame(languages)
        core = languages_frame(languages, limits).start() if frame is None else frame.start()
        return None if core is None else core.shell(any_escapes)

    def _number(self, byte: int) -> State | None:
        """Asked for eleven bytes: the machine is kept."""
        if self._numbers is None:
            parts = self._parts(Kind.NUMBER)
            self._numbers = number_machine(tuple(part for part in parts if isinstance(part, NumberSet)))
        return self._numbers.enter(byte)

    def candidates(self) -> bytes:
        """What values begin with."""
        return self._frames.first_bytes

    def completion(self) -> tuple[bytes, Outcome]:
        """The shortest witness of any of the shapes."""
        found = [
            (self._frames.spelling.written(text).encode(), outcome)
            for outcome, shape in enumerate(self._shapes)
            if (text := self._frames.search.value(shape)) is not None
        ]
        return min(found, key=lambda pair: len(pair[0]))


class LiteralState(State):
    """Inside `null`, `true` or `false`."""

    __slots__ = ("_outcome", "_place", "_text")

    def __init__(self, text: bytes, place: int, outcome: Outcome) -> None:
        super().__init__()
        self._text, self._place, self._outcome = text, place, outcome

    def make(self, byte: int) -> Step:
        """The next letter."""
        if byte != self._text[self._place]:
            return None
        last = self._place + 1 == len(self._text)
        return Pop(self._outcome) if last else LiteralState(self._text, self._place + 1, self._outcome)

    def candidates(self) -> bytes:
        """The next letter."""
        return self._text[self._place : self._place + 1]

    def completion(self) -> tuple[bytes, Outcome]:
        """The rest of the text."""
        return self._text[self._place :], self._outcome

    @property
    def mask_key(self) -> Hashable:
        """By content."""
        return (LiteralState, self._text, self._place, self._outcome)
