"""Composed constraints: each part is a frame, and what follows it lies on the stack beneath it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from espalier.grammar.constraint import (
    AnyConstraint,
    AnyJson,
    Json,
    Literal,
    OneOf,
    Regex,
    Repeat,
    Sequence,
    Special,
    Text,
)
from espalier.grammar.errors import UnsatisfiableError, VocabularyError
from espalier.grammar.limits import Limits
from espalier.grammar.name_trie import trie_of
from espalier.grammar.part import FREE, ChoiceState, RegexState, SpecialState, UntilState
from espalier.grammar.state import State
from espalier.grammar.text import Language, text_machine
from espalier.grammar.thread import END, Frame, Sequel, Thread


class Program:
    """A compiled constraint: where reading begins."""

    def __init__(
        self,
        constraint: AnyConstraint,
        json_start: Callable[[Json | AnyJson], State],
        alphabet: Language,
        limits: Limits,
    ) -> None:
        self._json_start, self._alphabet, self._limits = json_start, alphabet, limits
        self._known: dict[AnyConstraint, State] = {}
        self._opening: set[tuple[Repeat, Frame | None]] = set()
        self.has_parts = False  # whether any has a name
        self._prepare(constraint)
        self._constraint = constraint

    def start(self) -> list[Thread]:
        """The threads before the first byte."""
        return self.begin(self._constraint, None)

    def _prepare(self, constraint: AnyConstraint) -> None:
        """Compiles every JSON part and pattern, so that what is wrong with it is known at once."""
        pending = [constraint]
        while pending:
            part = pending.pop()
            self.has_parts |= getattr(part, "part", None) is not None
            if isinstance(part, Json | AnyJson) and part not in self._known:
                self._known[part] = self._json_start(part)
            elif isinstance(part, Regex) and part not in self._known:
                self._known[part] = self._pattern(part.pattern)
            elif isinstance(part, Sequence):
                pending.extend(part.items)
            elif isinstance(part, OneOf):
                pending.extend(part.options)
            elif isinstance(part, Repeat):
                pending.append(part.item)

    def _pattern(self, pattern: str) -> State:
        """Before the first byte of a pattern's text."""
        Language.pattern(pattern)  # an error names a position in what was given
        language = Language.pattern(f"^(?:{pattern})$")
        machine = text_machine(language & self._alphabet, self._limits)
        if machine.is_empty:
            if text_machine(language, self._limits).is_empty:
                raise UnsatisfiableError(f"no text matches the pattern {pattern[:200]!r} as a whole")
            raise VocabularyError(
                f"no text of the pattern {pattern[:200]!r} can be spelled with the bytes that are tokens"
            )
        return RegexState(machine, (machine.start, 0))

    def begin(self, constraint: AnyConstraint, outer: Frame | None) -> list[Thread]:
        """The threads at the beginning of a constraint, `outer` being what follows it."""
        if isinstance(constraint, Sequence):
            return self.items(constraint, 0, outer)
        if isinstance(constraint, OneOf):
            return [t for option in constraint.options for t in self.begin(option, outer)]
        if isinstance(constraint, Repeat):
            return self.repeat(constraint, 0, outer)
        if isinstance(constraint, Text) and isinstance(constraint.until, int):
            ended = Sequence((Text(part=constraint.part), Special(constraint.until)))
            return self.begin(ended, outer)
        state = self._state(constraint)
        if state is None:  # the empty text
            return leave(outer)
        return [Thread(state, Frame(Leave(), outer, None, constraint.part))]

    def items(self, sequence: Sequence, index: int, outer: Frame | None) -> list[Thread]:
        """The threads at an item of a sequence."""
        if index == len(sequence.items):
            return leave(outer)
        return self.begin(sequence.items[index], Frame(NextItem(self, sequence, index + 1), outer, None))

    def repeat(self, repeat: Repeat, num_done: int, outer: Frame | None) -> list[Thread]:
        """The threads behind some repetitions: more, or what follows."""
        place = (repeat, outer)
        if place in self._opening:  # behind one that read nothing: the others that are asked for may read nothing too
            return leave(outer)
        threads = leave(outer) if num_done >= repeat.least else []
        if repeat.most is not None and num_done >= repeat.most:
            return threads
        count = min(num_done + 1, repeat.least) if repeat.most is None else num_done + 1
        self._opening.add(place)
        try:
            return [*threads, *self.begin(repeat.item, Frame(Again(self, repeat, count), outer, None))]
        finally:
            self._opening.remove(place)

    def _state(self, constraint: AnyConstraint) -> State | None:
        """The first state of a part; None if its text is empty."""
        if isinstance(constraint, Json | AnyJson | Regex):
            return self._known[constraint]
        if isinstance(constraint, Special):
            return SpecialState(constraint.token)
        if isinstance(constraint, Text):
            if isinstance(constraint.until, bytes):
                return UntilState(constraint.until, 0) if constraint.until else None
            return FREE
        found = self._known.get(constraint)
        if found is None:  # made once: equal threads are one by their states
            texts = (constraint.text,) if isinstance(constraint, Literal) else constraint.texts  # type: ignore[union-attr]
            trie = trie_of(texts)
            found = ChoiceState(trie) if trie.next_bytes else None
            if found is not None:
                self._known[constraint] = found
        return found


def leave(outer: Frame | None) -> list[Thread]:
    """The threads behind a composed part."""
    if outer is None:
        return [Thread(END, None)]
    assert isinstance(outer.back, Sequel)
    return outer.back.begin(outer.outer)


class Leave(Sequel):
    """Behind a simple part."""

    __slots__ = ()

    is_part = True

    def begin(self, outer: Frame | None) -> list[Thread]:
        """What follows."""
        return leave(outer)

    @property
    def mask_key(self) -> type:
        """They are all alike."""
        return Leave


@dataclass(frozen=True, eq=False)
class NextItem(Sequel):
    """Behind an item of a sequence."""

    program: Program
    sequence: Sequence
    index: int

    def begin(self, outer: Frame | None) -> list[Thread]:
        """The next item."""
        return self.program.items(self.sequence, self.index, outer)

    @property
    def mask_key(self) -> tuple[object, ...]:
        """By content."""
        return (NextItem, self.program, self.sequence, self.index)


@dataclass(frozen=True, eq=False)
class Again(Sequel):
    """Behind a repetition."""

    program: Program
    repeated: Repeat
    num_done: int

    def begin(self, outer: Frame | None) -> list[Thread]:
        """Another one, or what follows."""
        return self.program.repeat(self.repeated, self.num_done, outer)

    @property
    def mask_key(self) -> tuple[object, ...]:
        """By content."""
        return (Again, self.program, self.repeated, self.num_done)
