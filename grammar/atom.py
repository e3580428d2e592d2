"""What can be said about the rest of an array or object, as atoms of formulas that change with each member or item.

`follow` gives the formula that the rest has to satisfy for the atom to hold after one more member or item; in it a
`Demand` stands for what its value has to satisfy. `at_end` says whether the atom holds if nothing more comes. Atoms
are immutable and compared by content; those that belong to a schema compare by that schema's identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espalier.grammar.formula import FALSE, TRUE, Formula, Space, atoms
from espalier.grammar.value import Value

if TYPE_CHECKING:
    from espalier.grammar.text import Language


@dataclass(frozen=True, slots=True)
class Demand:
    """The value of the member or item at hand satisfies a formula over schemas."""

    shape: Formula


@dataclass(frozen=True, slots=True)
class Values:
    """A value is one of these: an atom beside schemas."""

    values: frozenset[Value]


@dataclass(frozen=True, slots=True)
class Member:
    """A member's name: a known one, or any other of which it is known which languages it is in."""

    name: str | None
    languages: frozenset[Language]

    def is_in(self, language: Language) -> bool:
        """Whether the name is of a language."""
        return language in self.languages


@dataclass(frozen=True, slots=True)
class Item:
    """An item's place in its array, from 0."""

    index: int


class Atom(ABC):
    """See the module."""

    __slots__ = ()

    @abstractmethod
    def follow(self, space: Space, part: Member | Item) -> Formula:
        """What has to hold after a member or item."""

    @abstractmethod
    def at_end(self) -> bool:
        """Whether it holds if nothing more comes."""

    def names(self) -> tuple[str, ...]:
        """Members' names that it treats apart, in the order of the schema."""
        return ()

    def languages(self) -> tuple[Language, ...]:
        """Languages of names that it treats apart."""
        return ()

    def settled_at(self) -> int:
        """The index from which on it treats all items alike."""
        return 0


def demand(space: Space, shape: Formula) -> Formula:
    """The formula that the value at hand has this shape."""
    return shape if shape is TRUE or shape is FALSE else space.atom(Demand(shape))


@dataclass(frozen=True, slots=True, eq=False)
class Members(Atom):
    """`properties`, `patternProperties`, `additionalProperties` of one schema: what a name selects for its member."""

    properties: Mapping[str, Formula]
    patterns: tuple[tuple[Language, Formula], ...]
    additional: Formula

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """What the name selects, and the same for the rest."""
        assert isinstance(part, Member)
        found = [shape for language, shape in self.patterns if part.is_in(language)]
        if part.name is not None and part.name in self.properties:
            found.append(self.properties[part.name])
        elif not found:
            found.append(self.additional)
        return space.all([*(demand(space, shape) for shape in found), space.atom(self)])

    def at_end(self) -> bool:
        """Nothing is missing."""
        return True

    def names(self) -> tuple[str, ...]:
        """The properties."""
        return tuple(self.properties)

    def languages(self) -> tuple[Language, ...]:
        """The patterns."""
        return tuple(language for language, _ in self.patterns)


@dataclass(frozen=True, slots=True)
class Names(Atom):
    """`propertyNames`: each name is of a language."""

    language: Language

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """The same, unless the name is not."""
        assert isinstance(part, Member)
        return space.atom(self) if part.is_in(self.language) else FALSE

    def at_end(self) -> bool:
        """Nothing is missing."""
        return True

    def languages(self) -> tuple[Language, ...]:
        """The names allowed."""
        return (self.language,)


@dataclass(frozen=True, slots=True)
class Required(Atom):
    """These names are still to come."""

    missing: tuple[str, ...]

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """One fewer."""
        assert isinstance(part, Member)
        if part.name not in self.missing:
            return space.atom(self)
        return required(space, tuple(name for name in self.missing if name != part.name))

    def at_end(self) -> bool:
        """Some are missing."""
        return False

    def names(self) -> tuple[str, ...]:
        """Those missing."""
        return self.missing


def required(space: Space, names: tuple[str, ...]) -> Formula:
    """All of the names are to come."""
    return space.atom(Required(names)) if names else TRUE


@dataclass(frozen=True, slots=True)
class Count(Atom):
    """`least` to `most` members or items are still to come."""

    least: int
    most: int | None

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """One fewer."""
        if self.most == 0:
            return FALSE
        return count(space, max(self.least - 1, 0), None if self.most is None else self.most - 1)

    def at_end(self) -> bool:
        """Whether enough have come."""
        return self.least == 0


def count(space: Space, least: int, most: int | None) -> Formula:
    """So many members or items are to come."""
    if most is not None and least > most:
        return FALSE
    return TRUE if least == 0 and most is None else space.atom(Count(least, most))


@dataclass(frozen=True, slots=True)
class ExactObject(Atom):
    """The members to come are exactly these."""

    members: tuple[tuple[str, Value], ...]

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """One of them, with its value."""
        assert isinstance(part, Member)
        rest = tuple(pair for pair in self.members if pair[0] != part.name)
        if len(rest) == len(self.members):
            return FALSE
        value = next(value for name, value in self.members if name == part.name)
        return space.all([demand(space, space.atom(Values(frozenset({value})))), space.atom(ExactObject(rest))])

    def at_end(self) -> bool:
        """Whether all have come."""
        return not self.members

    def names(self) -> tuple[str, ...]:
        """Theirs."""
        return tuple(name for name, _ in self.members)


@dataclass(frozen=True, slots=True, eq=False)
class Items(Atom):
    """`prefixItems` and `items` of one schema: each item satisfies what its place selects."""

    prefix: tuple[Formula, ...]
    rest: Formula

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """What the place selects, and the same for the rest."""
        assert isinstance(part, Item)
        return space.all([demand(space, self.at(part.index)), space.atom(self)])

    def at(self, index: int) -> Formula:
        """What an item has to satisfy."""
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def at_end(self) -> bool:
        """Nothing is missing."""
        return True

    def settled_at(self) -> int:
        """Behind the prefix."""
        return len(self.prefix)


@dataclass(frozen=True, slots=True)
class Contains(Atom):
    """`least` to `most` of the items to come have a shape."""

    shape: Formula
    least: int
    most: int | None

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """One fewer, if the item has it."""
        hit = (
            FALSE
            if self.most == 0
            else self._with(space, max(self.least - 1, 0), None if self.most is None else self.most - 1)
        )
        has = demand(space, self.shape)
        return space.any([space.all([has, hit]), space.all([space.invert(has), space.atom(self)])])

    def _with(self, space: Space, least: int, most: int | None) -> Formula:
        return contains(space, self.shape, least, most)

    def at_end(self) -> bool:
        """Whether enough have come."""
        return self.least == 0


def contains(space: Space, shape: Formula, least: int, most: int | None) -> Formula:
    """So many items with a shape are to come."""
    if most is not None and least > most:
        return FALSE
    return TRUE if least == 0 and most is None else space.atom(Contains(shape, least, most))


@dataclass(frozen=True, slots=True)
class ExactArray(Atom):
    """The items to come are exactly these."""

    items: tuple[Value, ...]

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """The first of them."""
        if not self.items:
            return FALSE
        shape = space.atom(Values(frozenset({self.items[0]})))
        return space.all([demand(space, shape), space.atom(ExactArray(self.items[1:]))])

    def at_end(self) -> bool:
        """Whether all have come."""
        return not self.items


@dataclass(frozen=True, slots=True)
class Unique(Atom):
    """`uniqueItems`: the items to come differ from each other and from those seen.

    `is_open` while the last one is not yet known.
    """

    seen: frozenset[Value]
    is_open: bool = False

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """None of those seen; the item at hand is added when it is known."""
        assert not self.is_open
        fresh = space.invert(demand(space, space.atom(Values(self.seen)))) if self.seen else TRUE
        return space.all([fresh, space.atom(Unique(self.seen, is_open=True))])

    def at_end(self) -> bool:
        """Nothing is missing."""
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Which members or items one schema's own keywords evaluate."""

    everything: bool = False
    names: frozenset[str] = frozenset()
    patterns: tuple[Language, ...] = ()
    num_items: int = 0
    containing: Formula | None = None  # items of this shape

    def covers(self, space: Space, part: Member | Item) -> Formula:
        """Whether a member or item is evaluated, which may depend on its value."""
        if self.everything:
            return TRUE
        if isinstance(part, Item):
            if part.index < self.num_items:
                return TRUE
            return FALSE if self.containing is None else demand(space, self.containing)
        return TRUE if part.name in self.names or any(part.is_in(language) for language in self.patterns) else FALSE


@dataclass(frozen=True, slots=True)
class Unevaluated(Atom):
    """Each member or item to come has a shape, or is evaluated by a schema that turns out to hold for the whole.

    `covers` pairs what a schema evaluates with what is left to hold for that schema.
    """

    shape: Formula
    covers: tuple[tuple[Cover, Formula], ...]

    def follow(self, space: Space, part: Member | Item) -> Formula:
        """The same for the rest, and one clause for this member or item."""
        after = tuple((cover, derive(space, left, part)) for cover, left in self.covers)
        alive = tuple((cover, left) for cover, left in after if left is not FALSE)
        clause = [space.all([cover.covers(space, part), left]) for cover, left in alive]
        return space.all([space.any([demand(space, self.shape), *clause]), space.atom(Unevaluated(self.shape, alive))])

    def at_end(self) -> bool:
        """The clauses say the rest."""
        return True

    def inside(self, space: Space, change: Callable[[Formula], Formula]) -> Formula:
        """The atom with the formulas inside of it changed."""
        after = tuple((cover, change(left)) for cover, left in self.covers)
        return space.atom(Unevaluated(self.shape, tuple((cover, left) for cover, left in after if left is not FALSE)))

    def names(self) -> tuple[str, ...]:
        """Those that are covered one by one."""
        own = [name for cover, _ in self.covers for name in sorted(cover.names)]
        return tuple(dict.fromkeys([*own, *(name for _, left in self.covers for name in formula_names(left))]))

    def languages(self) -> tuple[Language, ...]:
        """Those that are covered together."""
        own = [language for cover, _ in self.covers for language in cover.patterns]
        return tuple(dict.fromkeys([*own, *(lang for _, left in self.covers for lang in formula_languages(left))]))

    def settled_at(self) -> int:
        """Behind everything that is covered by its place."""
        return max((max(cover.num_items, settled_at(left)) for cover, left in self.covers), default=0)


def derive(space: Space, formula: Formula, part: Member | Item) -> Formula:
    """What has to hold after one more member or item for the formula to hold."""

    def follow(atom: object) -> Formula:
        assert isinstance(atom, Atom)
        return atom.follow(space, part)

    cache = formula.remember()
    found = cache.get(part)
    if found is None:
        found = cache[part] = space.map(formula, follow)
    assert isinstance(found, Formula)
    return found


def formula_atoms(formula: Formula) -> tuple[Atom, ...]:
    """The atoms of a formula about an array or object."""
    cache = formula.remember()
    found = cache.get("atoms")
    if found is None:
        found = cache["atoms"] = tuple(atom for atom in atoms(formula) if isinstance(atom, Atom))
    assert isinstance(found, tuple)
    return found


def formula_names(formula: Formula) -> tuple[str, ...]:
    """The names that a formula treats apart, in the order of the schema."""
    return tuple(dict.fromkeys(name for atom in formula_atoms(formula) for name in atom.names()))


def formula_languages(formula: Formula) -> tuple[Language, ...]:
    """The languages of names that a formula treats apart."""
    return tuple(dict.fromkeys(language for atom in formula_atoms(formula) for language in atom.languages()))


def settled_at(formula: Formula) -> int:
    """The index from which on a formula treats all items alike."""
    return max((atom.settled_at() for atom in formula_atoms(formula)), default=0)
