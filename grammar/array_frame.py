"""The frame of an array: which items may come, and what its schemas still ask for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING

from espalier.grammar.atom import Item, derive, settled_at
from espalier.grammar.choice import Branch, Vector, close, is_open, split
from espalier.grammar.formula import FALSE, Formula
from espalier.grammar.item_search import Texts
from espalier.grammar.rest import at_end
from espalier.grammar.spelling import gap
from espalier.grammar.state import Outcome, Pop, Push, Return, State, Step
from espalier.grammar.value import Value, parse, to_value

if TYPE_CHECKING:
    from espalier.grammar.frames import Frames, ValueState

_CLOSE, _COMMA = b"],"
UNKNOWN = "\udfff"  # no value: a lone surrogate is in no JSON text


class Phase(Enum):
    """Where between items we are."""

    OPEN = auto()  # behind the bracket
    NEXT = auto()  # behind a comma
    TIGHT = auto()  # an item comes at once
    DONE = auto()  # behind an item
    CLOSING = auto()  # the bracket comes at once

    __hash__ = object.__hash__  # as for `Kind`


class ArrayFrame:
    """All arrays whose outcomes are described by the same formulas at their start."""

    def __init__(self, frames: Frames) -> None:
        self.frames, self.space, self.search = frames, frames.space, frames.search
        self._states: dict[Hashable, ArrayState] = {}
        self._branches: dict[Hashable, tuple[Branch, ...]] = {}

    @property
    def num_states(self) -> int:
        """States between items, made so far."""
        return len(self._states) + len(self._branches)

    def start(self, vector: Vector) -> ArrayState | None:
        """Behind the bracket; None if no array completes it."""
        alive = self.alive(vector, 0)
        return None if alive is None else self.state(alive, 0, Phase.OPEN)

    def state(self, vector: Vector, index: int, phase: Phase) -> ArrayState:
        """The state with these contents, made once; it has to be live."""
        index = min(index, max(map(settled_at, vector)))
        key = (vector, index, phase)
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = ArrayState(self, vector, index, phase)
        return found

    def alive(self, vector: Vector, index: int) -> Vector | None:
        """The vector without what cannot be completed; None if nothing can."""
        alive = tuple(f if self.search.items(f, index) is not None else FALSE for f in vector)
        return None if all(formula is FALSE for formula in alive) else alive

    def branches(self, vector: Vector, index: int) -> tuple[Branch, ...]:
        """The live outcomes of an item: its shape, and the vector behind it, which may wait for the item's value."""
        key = (vector, index)
        found = self._branches.get(key)
        if found is None:
            derived = tuple(derive(self.space, formula, Item(index)) for formula in vector)
            merged: dict[Vector, list[Formula]] = {}
            for shape, left in split(self.space, derived, self.frames.limits.verdicts, self.search):
                if any(map(is_open, left)):
                    shape = self._without_dead_ends(shape, left, index + 1)
                    alive: Vector | None = left
                else:
                    alive = self.alive(left, index + 1)
                if alive is not None and self.search.value(shape) is not None:
                    merged.setdefault(alive, []).append(shape)
            found = self._branches[key] = tuple((self.space.any(shapes), left) for left, shapes in merged.items())
        return found

    def closed(self, left: Vector, index: int, value: Value) -> Vector | None:
        """A vector that waits for the last item, when that is known; None if nothing completes it."""
        return self.alive(tuple(close(self.space, formula, value) for formula in left), index)

    def _without_dead_ends(self, shape: Formula, left: Vector, index: int) -> Formula:
        """The shape without values after which nothing completes the array."""
        if any(map(at_end, left)):
            return shape
        parts = self.search.item_search.classes(shape, left, index)
        alive = [part for part in parts if self._goes_on(part, left, index)]
        return shape if len(alive) == len(parts) else self.space.any(alive)

    def _goes_on(self, part: Formula, left: Vector, index: int) -> bool:
        """Whether the array can be completed behind a value of a class, all of which are alike."""
        text = self.search.value(part)
        return text is not None and self.closed(left, index, to_value(parse(text))) is not None


class ArrayState(State):
    """Between items."""

    __slots__ = ("_frame", "_index", "_item", "_phase", "_vector")

    is_between = True

    def __init__(self, frame: ArrayFrame, vector: Vector, index: int, phase: Phase) -> None:
        super().__init__()
        self._frame, self._vector, self._index, self._phase = frame, vector, index, phase
        self._item: tuple[ValueState, ItemReturn] | None = None

    def make(self, byte: int) -> Step:
        """The bracket, a comma, white space, an item's first byte."""
        phase, spelling = self._phase, self._frame.frames.spelling
        if byte == _CLOSE and phase in (Phase.OPEN, Phase.DONE, Phase.CLOSING):
            outcome = self._outcome()
            return None if outcome is None else Pop(outcome)
        if phase is Phase.DONE:
            if byte == _COMMA:
                return self._at(Phase.NEXT) if self._branches else None
            is_gap = spelling.is_natural and self._outcome() is not None
            return gap(byte, self._at(Phase.CLOSING)) if is_gap else None
        if phase is Phase.CLOSING or not self._branches:
            return None
        if spelling.is_spaced and phase is Phase.NEXT:
            return self._at(Phase.TIGHT) if byte == 0x20 else None
        if spelling.is_natural and phase is not Phase.TIGHT and byte in b" \n":
            return gap(byte, self._at(Phase.TIGHT))
        assert self._opened is not None
        item, back = self._opened
        inner = item.step(byte)
        return Push(inner, back, inside=True) if isinstance(inner, State) else None

    def _at(self, phase: Phase) -> ArrayState:
        return self._frame.state(self._vector, self._index, phase)

    @property
    def _branches(self) -> tuple[Branch, ...]:
        return self._frame.branches(self._vector, self._index)

    @property
    def _opened(self) -> tuple[ValueState, ItemReturn] | None:
        """Where an item begins, and where it returns to; None if none may come. Asked for by each byte."""
        if self._item is None and self._branches:
            lefts = tuple(left for _, left in self._branches)
            item = self._frame.frames.value(tuple(shape for shape, _ in self._branches))
            self._item = item, ItemReturn(self._frame, lefts, self._index + 1)
        return self._item

    def _outcome(self) -> Outcome | None:
        return next((index for index, formula in enumerate(self._vector) if at_end(formula)), None)

    def candidates(self) -> bytes:
        """White space, and what can stand here between items, or begins one."""
        gaps, phase = self._frame.frames.spelling.gaps, self._phase
        if phase is Phase.CLOSING:
            return b"]"
        if phase is Phase.DONE:
            return gaps + b",]"
        opened = self._opened
        items = b"" if opened is None else opened[0].candidates()
        return gaps + (bytes(sorted({_CLOSE, *items})) if phase is Phase.OPEN else items)

    def completion(self) -> tuple[bytes, Outcome]:
        """The bracket if it may come; else what the search found."""
        spelling = self._frame.frames.spelling
        if self._phase in (Phase.OPEN, Phase.DONE, Phase.CLOSING):
            outcome = self._outcome()
            if outcome is not None:
                return b"]", outcome
            found = [(self._frame.search.items(f, self._index), outcome) for outcome, f in enumerate(self._vector)]
            before = spelling.written("," if self._phase is Phase.DONE else "")
        else:
            found = list(self._with_item())
            before = " " if spelling.is_spaced and self._phase is Phase.NEXT else ""
        lists = [(spelling.written(",".join(items)), outcome) for items, outcome in found if items is not None]
        return min(
            (((before + items + "]").encode(), outcome) for items, outcome in lists), key=lambda pair: len(pair[0])
        )

    def _with_item(self) -> Iterator[tuple[Texts, Outcome]]:
        """Completions that begin with an item, for each outcome one."""
        search = self._frame.search
        for text, left in search.item_search.candidates(self._branches, self._index):
            rests = [(search.items(formula, self._index + 1), outcome) for outcome, formula in enumerate(left)]
            alive = [((text, *rest), outcome) for rest, outcome in rests if rest is not None]
            if alive:
                yield from alive
                return


class ItemReturn(Return):
    """Behind an item: the vector of its outcome."""

    __slots__ = ("_frame", "_index", "_vectors", "captures")

    def __init__(self, frame: ArrayFrame, vectors: tuple[Vector, ...], index: int) -> None:
        self._frame, self._vectors, self._index = frame, vectors, index
        self.captures = any(is_open(formula) for vector in vectors for formula in vector)

    def resume(self, outcome: Outcome, text: bytes | None) -> State:
        """Behind the item, which is compared with later ones where all have to differ."""
        left = self._vectors[outcome]
        if self.captures:
            assert text is not None
            closed = self._frame.closed(left, self._index, to_value(parse(self._frame.frames.spelling.json(text))))
            assert closed is not None, "an item after which nothing completes the array"
            left = closed
        return self._frame.state(left, self._index, Phase.DONE)

    def is_sensitive(self, outcome: Outcome) -> bool:
        """Whether some values leave too little for later items."""
        if not self.captures:
            return False
        left = self._vectors[outcome]
        if not any(map(is_open, left)):
            return False
        return bool(self._frame.search.item_search.scarce_values(left, self._index)) or self._unknown(outcome) is None

    def resume_unknown(self, outcome: Outcome) -> State:
        """Behind an item that is like no other."""
        state = self._unknown(outcome)
        assert state is not None
        return state

    def _unknown(self, outcome: Outcome) -> State | None:
        left = self._frame.closed(self._vectors[outcome], self._index, UNKNOWN)
        return None if left is None else self._frame.state(left, self._index, Phase.DONE)

    @property
    def mask_key(self) -> Hashable:
        """By content."""
        return (ItemReturn, self._frame, self._vectors, self._index)
