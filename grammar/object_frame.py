"""The frame of an object: which members may come, in which order, and what its schemas still ask for.

A state holds a formula for each outcome, the known names that may not come any more, and the names of classes that
were used. In the order of the schema a known name rules out those before it, and any other name all known ones.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from enum import Enum, auto
from typing import TYPE_CHECKING

from espalier.grammar import key_core
from espalier.grammar.atom import Required, derive, formula_languages, formula_names
from espalier.grammar.choice import Branch, Vector, split
from espalier.grammar.formula import FALSE, Formula
from espalier.grammar.key_core import KeyContext
from espalier.grammar.member_search import spelled
from espalier.grammar.name_trie import trie_of
from espalier.grammar.names import NameTable
from espalier.grammar.rest import at_end, conjuncts, without
from espalier.grammar.spelling import gap
from espalier.grammar.state import Outcome, Pop, Push, Return, State, Step
from espalier.grammar.text_frame import escaped, is_verbatim

if TYPE_CHECKING:
    from espalier.grammar.frames import Frames, ValueState

_CLOSE, _COMMA, _COLON, _QUOTE = b'},:"'


class Phase(Enum):
    """Where between members we are."""

    OPEN = auto()  # behind the brace
    NEXT = auto()  # behind a comma
    TIGHT = auto()  # a member comes at once
    DONE = auto()  # behind a member
    CLOSING = auto()  # the brace comes at once

    __hash__ = object.__hash__  # as for `Kind`


_SIGNS = {
    Phase.OPEN: b'"}',
    Phase.NEXT: b'"',
    Phase.TIGHT: b'"',
    Phase.DONE: b",}",
    Phase.CLOSING: b"}",
}


class ObjectFrame:
    """All objects whose outcomes are described by the same formulas at their start."""

    def __init__(self, frames: Frames, vector: Vector) -> None:
        self.frames, self.space, self.search = frames, frames.space, frames.search
        if len(vector) == 1:
            self.table = self.search.table(vector[0])
        else:
            names = dict.fromkeys(name for formula in vector for name in formula_names(formula))
            languages = dict.fromkeys(language for formula in vector for language in formula_languages(formula))
            self.table = NameTable(tuple(names), tuple(languages), frames.limits)
        self.trie = trie_of(name.encode() for name in self.table.names)
        self.is_verbatim = all(map(is_verbatim, self.table.names))
        self._states: dict[Hashable, ObjectState] = {}
        self._keys: dict[Hashable, Keys] = {}
        self._last_used: tuple[Hashable, Keys | None] = (None, None)  # asked for by several states in a row
        self._branches: dict[Hashable, tuple[Branch, ...]] = {}
        self._last_places: dict[Vector, int] = {}

    @property
    def num_states(self) -> int:
        """States between members, and sets of names, made so far."""
        return len(self._states) + len(self._keys) + len(self._branches)

    def start(self, vector: Vector) -> ObjectState | None:
        """Behind the brace; None if no object completes it."""
        alive = self.alive(vector, 0)
        return None if alive is None else self.state(alive, 0, frozenset(), Phase.OPEN)

    def state(self, vector: Vector, forbidden: int, used: frozenset[str], phase: Phase) -> ObjectState:
        """The state with these contents, made once; it has to be live."""
        key = (vector, forbidden, used, phase)
        found = self._states.get(key)
        if found is None:
            found = ObjectState(self, vector, forbidden, used, phase)
            if not used:
                self._states[key] = found
        return found

    def keys(self, vector: Vector, forbidden: int, used: frozenset[str]) -> Keys:
        """The names that may come."""
        key = (vector, forbidden, used)
        found = self._last_used[1] if key == self._last_used[0] else self._keys.get(key)
        if found is None:
            found = Keys(self, vector, forbidden, used)
            if used:
                self._last_used = key, found
            else:
                self._keys[key] = found
        return found

    def last_place(self, vector: Vector) -> int:
        """The last place at which a member can come: in the order of the schema no name passes one that is required."""
        if self.frames.spelling.property_order != "schema":
            return len(self.table.members)
        found = self._last_places.get(vector)
        if found is None:
            found = self._last_places[vector] = self._last_place(vector)
        return found

    def _last_place(self, vector: Vector) -> int:
        end = len(self.table.members)
        index, found = self.table.index, -1
        for formula in vector:
            if formula is FALSE:
                continue
            parts = (part.atom for part in conjuncts(formula) if part.positive and isinstance(part.atom, Required))
            found = max(found, min((index[name] for atom in parts for name in atom.missing), default=end))
        return found

    def told(self, used: frozenset[str]) -> frozenset[str]:
        """The used names that matter before a name begins: those that one token might say again."""
        return used & self.frames.quoted if used else used

    def alive(self, vector: Vector, forbidden: int) -> Vector | None:
        """The vector without what cannot be completed; None if nothing can."""
        members = self.search.members
        alive = tuple(f if members(f, self.table, forbidden) is not None else FALSE for f in vector)
        return None if all(formula is FALSE for formula in alive) else alive

    def after(self, forbidden: int, place: int) -> int:
        """The names ruled out after a member."""
        if self.frames.spelling.property_order != "schema":
            return forbidden | (1 << place) & self.table.everything
        return self.table.everything if place >= len(self.table.names) else (2 << place) - 1

    def branches(self, vector: Vector, forbidden: int, place: int) -> tuple[Branch, ...]:
        """The live outcomes of a member: the shape of its value, and the vector behind it."""
        if place < len(self.table.names) and forbidden >> place & 1:
            return ()
        behind = self.after(forbidden, place)  # in the order of the schema the same for all states
        key = (vector, behind, place)
        found = self._branches.get(key)
        if found is None:
            member, space = self.table.members[place], self.space
            derived = tuple(without(space, derive(space, formula, member), self.table, behind) for formula in vector)
            merged: dict[Vector, list[Formula]] = {}
            for shape, left in split(space, derived, self.frames.limits.verdicts, self.search):
                alive = self.alive(left, behind)
                if alive is not None and self.search.value(shape) is not None:
                    merged.setdefault(alive, []).append(shape)
            found = tuple((space.any(shapes), left) for left, shapes in merged.items())
            self._branches[key] = found
        return found


class Keys(KeyContext):
    """The names that may come in one state of an object."""

    def __init__(self, frame: ObjectFrame, vector: Vector, forbidden: int, used: frozenset[str]) -> None:
        self.table, self.trie = frame.table, frame.trie
        self.used = trie_of(name.encode() for name in sorted(used)) if used else None
        self.is_verbatim = frame.is_verbatim and all(map(is_verbatim, used))
        self._frame, self._vector, self._forbidden = frame, vector, forbidden
        self._allowed: dict[int, bool] = {}
        self._last = frame.last_place(vector)
        self.apart = {}
        self.start = key_core.start(self)

    def allows(self, place: int) -> bool:
        """Whether a member at that place has a live outcome."""
        if place > self._last:
            return False
        found = self._allowed.get(place)
        if found is None:
            found = self._allowed[place] = bool(self._frame.branches(self._vector, self._forbidden, place))
        return found


class ObjectState(State):
    """Between members."""

    __slots__ = ("_forbidden", "_frame", "_phase", "_used", "_vector")

    is_between = True

    def __init__(self, frame: ObjectFrame, vector: Vector, forbidden: int, used: frozenset[str], phase: Phase) -> None:
        super().__init__()
        self._frame, self._vector, self._forbidden, self._used, self._phase = frame, vector, forbidden, used, phase

    def make(self, byte: int) -> Step:
        """The brace, a comma, a name's quote, white space."""
        phase, spelling = self._phase, self._frame.frames.spelling
        if byte == _CLOSE and phase in (Phase.OPEN, Phase.DONE, Phase.CLOSING):
            outcome = self._outcome()
            return None if outcome is None else Pop(outcome)
        if byte == _COMMA and phase is Phase.DONE:
            return self._at(Phase.NEXT) if self._core is not None else None
        if spelling.is_spaced and phase is Phase.NEXT:
            return self._at(Phase.TIGHT) if byte == 0x20 else None
        if byte == _QUOTE and phase in (Phase.OPEN, Phase.NEXT, Phase.TIGHT) and self._core is not None:
            back = KeyReturn(self._frame, self._vector, self._forbidden, self._used)
            return Push(self._core.shell(self._frame.frames.any_escapes), back)
        if spelling.is_natural:
            if phase is Phase.DONE and self._outcome() is not None:
                return gap(byte, self._at(Phase.CLOSING))
            if phase in (Phase.OPEN, Phase.NEXT) and self._core is not None:
                return gap(byte, self._at(Phase.TIGHT))
        return None

    def _at(self, phase: Phase) -> ObjectState:
        return self._frame.state(self._vector, self._forbidden, self._used, phase)

    @property
    def _core(self) -> key_core.KeyCore | None:
        return self._frame.keys(self._vector, self._forbidden, self._used).start

    def _outcome(self) -> Outcome | None:
        return next((index for index, formula in enumerate(self._vector) if at_end(formula)), None)

    def candidates(self) -> bytes:
        """White space, and what can stand here between members."""
        return self._frame.frames.spelling.gaps + _SIGNS[self._phase]

    def completion(self) -> tuple[bytes, Outcome]:
        """The brace if it may come; else what the search found."""
        if self._phase in (Phase.OPEN, Phase.DONE, Phase.CLOSING):
            outcome = self._outcome()
            if outcome is not None:
                return b"}", outcome
            return self._searched("" if self._phase is Phase.OPEN else ",")
        core = self._core
        assert core is not None
        name, place = core.completion()
        text = escaped(name) + b'"'
        back = KeyReturn(self._frame, self._vector, self._forbidden, self._used)
        rest, outcome = back.resume(place, text).completion()
        is_apart = self._phase is Phase.NEXT and self._frame.frames.spelling.is_spaced
        return (b' "' if is_apart else b'"') + text + rest, outcome

    def _searched(self, before: str) -> tuple[bytes, Outcome]:
        found = []
        for outcome, formula in enumerate(self._vector):
            members = self._frame.search.members(formula, self._frame.table, self._forbidden)
            if members is not None:
                pairs = spelled(members, self._frame.table, self._used)
                text = before + ",".join(f"{name}:{text}" for name, text in pairs) + "}"
                found.append((self._frame.frames.spelling.written(text).encode(), outcome))
        return min(found, key=lambda pair: len(pair[0]))

    @property
    def mask_key(self) -> Hashable:
        """Which names were used only counts while a name is read."""
        return (ObjectState, self._frame, self._vector, self._forbidden, self._frame.told(self._used), self._phase)

    @property
    def key(self) -> Hashable:
        """With all names that were used."""
        return (ObjectState, self._frame, self._vector, self._forbidden, self._used, self._phase)


class KeyReturn(Return):
    """Behind a name: its member's outcomes."""

    __slots__ = ("_forbidden", "_frame", "_used", "_vector", "captures")

    def __init__(self, frame: ObjectFrame, vector: Vector, forbidden: int, used: frozenset[str]) -> None:
        self._frame, self._vector, self._forbidden, self._used = frame, vector, forbidden, used
        self.captures = bool(frame.table.classes)

    def resume(self, outcome: Outcome, text: bytes | None) -> State:
        """The outcome is the place of the name. A name of a class is noted, so that it does not come twice."""
        used = self._used
        if outcome >= len(self._frame.table.names) and text is not None:
            used |= {str(json.loads(b'"' + text))}
        branches = self._frame.branches(self._vector, self._forbidden, outcome)
        return MemberState(self._frame, branches, self._frame.after(self._forbidden, outcome), used, Colon.BEFORE)

    def wants_text(self, outcome: Outcome) -> bool:
        """A known name is its place; one of a class is noted."""
        return outcome >= len(self._frame.table.names)

    @property
    def mask_key(self) -> Hashable:
        """A name that is being read is compared by the core."""
        return (KeyReturn, self._frame, self._vector, self._forbidden, self._frame.told(self._used))

    @property
    def key(self) -> Hashable:
        """With all names that were used."""
        return (KeyReturn, self._frame, self._vector, self._forbidden, self._used)


class Colon(Enum):
    """Where between name and value we are."""

    BEFORE = auto()
    BEHIND = auto()
    TIGHT = auto()  # behind colon and space

    __hash__ = object.__hash__


class MemberState(State):
    """Between a name and its value."""

    __slots__ = ("_branches", "_colon", "_forbidden", "_frame", "_used")

    def __init__(
        self, frame: ObjectFrame, branches: tuple[Branch, ...], forbidden: int, used: frozenset[str], colon: Colon
    ) -> None:
        super().__init__()
        self._frame, self._branches, self._forbidden, self._used, self._colon = frame, branches, forbidden, used, colon

    def make(self, byte: int) -> Step:
        """The colon, a space, the value."""
        frames = self._frame.frames
        if self._colon is Colon.BEFORE:
            if byte != _COLON:
                return None
            is_compact = frames.spelling.white_space == "compact"
            return Push(self._value(), self._back()) if is_compact else self._at(Colon.BEHIND)
        if self._colon is Colon.BEHIND:
            if byte == 0x20:
                return self._at(Colon.TIGHT)
            if frames.spelling.is_spaced:
                return None
        inner = self._value().step(byte)
        return Push(inner, self._back(), inside=True) if isinstance(inner, State) else None

    def _at(self, colon: Colon) -> MemberState:
        return MemberState(self._frame, self._branches, self._forbidden, self._used, colon)

    def _value(self) -> ValueState:
        return self._frame.frames.value(tuple(shape for shape, _ in self._branches))

    def _back(self) -> MemberReturn:
        return MemberReturn(self._frame, tuple(left for _, left in self._branches), self._forbidden, self._used)

    def candidates(self) -> bytes:
        """The colon, or what begins a value."""
        return b":" if self._colon is Colon.BEFORE else b" " + self._value().candidates()

    def completion(self) -> tuple[bytes, Outcome]:
        """Colon, value, the rest."""
        text, inner = self._value().completion()
        rest, outcome = self._back().resume(inner, None).completion()
        space = b" " if self._frame.frames.spelling.is_spaced and self._colon is not Colon.TIGHT else b""
        return (b":" if self._colon is Colon.BEFORE else b"") + space + text + rest, outcome

    @property
    def mask_key(self) -> Hashable:
        """Which names were used only counts while a name is read."""
        return (MemberState, self._frame, self._branches, self._forbidden, self._frame.told(self._used), self._colon)

    @property
    def key(self) -> Hashable:
        """With all names that were used."""
        return (MemberState, self._frame, self._branches, self._forbidden, self._used, self._colon)


class MemberReturn(Return):
    """Behind a value: the vector of its outcome."""

    __slots__ = ("_forbidden", "_frame", "_used", "_vectors")

    def __init__(self, frame: ObjectFrame, vectors: tuple[Vector, ...], forbidden: int, used: frozenset[str]) -> None:
        self._frame, self._vectors, self._forbidden, self._used = frame, vectors, forbidden, used

    def resume(self, outcome: Outcome, text: bytes | None) -> State:
        """Behind the member."""
        return self._frame.state(self._vectors[outcome], self._forbidden, self._used, Phase.DONE)

    @property
    def mask_key(self) -> Hashable:
        """Which names were used only counts while a name is read."""
        return (MemberReturn, self._frame, self._vectors, self._forbidden, self._frame.told(self._used))

    @property
    def key(self) -> Hashable:
        """With all names that were used."""
        return (MemberReturn, self._frame, self._vectors, self._forbidden, self._used)
