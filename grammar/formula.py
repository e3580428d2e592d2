"""Boolean formulas over atoms, in negation normal form and hash-consed: equal formulas are one object.

An atom is any hashable object that says something about a value, or about the rest of an array or object. A `Space`
makes formulas and remembers them; nothing else may. Simplification is cheap and sound: flattening, constants,
complements and absorption; two formulas that mean the same need not be the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import Enum, auto
from typing import Any


class Kind(Enum):
    """What a formula is made of."""

    CONSTANT = auto()
    LITERAL = auto()
    ALL = auto()
    ANY = auto()

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a slow Python call


class Formula:
    """Made by a `Space`; compared by identity."""

    __slots__ = ("atom", "cache", "kind", "negation", "parts", "positive")

    def __init__(
        self, kind: Kind, parts: tuple[Formula, ...] = (), atom: Hashable = None, positive: bool = True
    ) -> None:
        self.kind, self.parts, self.atom, self.positive = kind, parts, atom, positive
        self.negation: Formula | None = None
        self.cache: dict[Hashable, object] | None = None  # what others found out about it

    def remember(self) -> dict[Hashable, object]:
        """A place for what is computed from this formula, kept as long as it lives."""
        if self.cache is None:
            self.cache = {}
        return self.cache

    def __repr__(self) -> str:
        if self.kind is Kind.CONSTANT:
            return "TRUE" if self.positive else "FALSE"
        if self.kind is Kind.LITERAL:
            return f"{'' if self.positive else '~'}{self.atom!r}"
        return "(" + (" & " if self.kind is Kind.ALL else " | ").join(map(repr, self.parts)) + ")"


TRUE, FALSE = Formula(Kind.CONSTANT), Formula(Kind.CONSTANT, positive=False)
TRUE.negation, FALSE.negation = FALSE, TRUE


class Space:
    """All formulas of one grammar."""

    def __init__(self) -> None:
        self._literals: dict[Hashable, Formula] = {}
        self._sums: dict[tuple[Kind, frozenset[Formula]], Formula] = {}
        self.algebras: dict[Any, Any] | None = None  # a place for `kind.algebras`

    @property
    def num_formulas(self) -> int:
        """How many were made so far."""
        return len(self._literals) + len(self._sums)

    def atom(self, atom: Hashable) -> Formula:
        """The formula that holds when the atom does."""
        found = self._literals.get(atom)
        if found is None:
            found = self._literals[atom] = Formula(Kind.LITERAL, atom=atom)
        return found

    def invert(self, formula: Formula) -> Formula:
        """The formula that holds exactly when this one does not."""
        if formula.negation is None and formula.kind is Kind.LITERAL:
            formula.negation = Formula(Kind.LITERAL, atom=formula.atom, positive=False)
            formula.negation.negation = formula
        elif formula.negation is None:
            other = self.any if formula.kind is Kind.ALL else self.all
            formula.negation = other([self.invert(part) for part in formula.parts])
            if formula.negation.negation is None:
                formula.negation.negation = formula
        return formula.negation

    def all(self, formulas: Iterable[Formula]) -> Formula:
        """Their conjunction; TRUE of none."""
        return self._combine(Kind.ALL, formulas, TRUE, FALSE)

    def any(self, formulas: Iterable[Formula]) -> Formula:
        """Their disjunction; FALSE of none."""
        return self._combine(Kind.ANY, formulas, FALSE, TRUE)

    def _combine(self, kind: Kind, formulas: Iterable[Formula], neutral: Formula, absorbing: Formula) -> Formula:
        found: dict[Formula, None] = {}
        for formula in formulas:
            if formula is absorbing:
                return absorbing
            if formula.kind is kind:
                found.update(dict.fromkeys(formula.parts))
            elif formula is not neutral:
                found[formula] = None
        if len(found) < 2:
            return next(iter(found), neutral)
        for formula in found:
            if formula.negation in found:
                return absorbing
        other = Kind.ANY if kind is Kind.ALL else Kind.ALL
        kept = [f for f in found if not (f.kind is other and any(part in found for part in f.parts))]
        if len(kept) == 1:
            return kept[0]
        key = (kind, frozenset(kept))
        combined = self._sums.get(key)
        if combined is None:
            combined = self._sums[key] = Formula(kind, tuple(kept))
        return combined

    def map(self, formula: Formula, of_atom: Callable[[Hashable], Formula]) -> Formula:
        """The formula with each atom replaced."""
        return self._map(formula, of_atom, {})

    def _map(self, formula: Formula, of_atom: Callable[[Hashable], Formula], done: dict[Formula, Formula]) -> Formula:
        if formula.kind is Kind.CONSTANT:
            return formula
        if formula.kind is Kind.LITERAL:
            image = of_atom(formula.atom)
            return image if formula.positive else self.invert(image)
        found = done.get(formula)
        if found is None:
            combine = self.all if formula.kind is Kind.ALL else self.any
            found = done[formula] = combine([self._map(part, of_atom, done) for part in formula.parts])
        return found


def truth(formula: Formula, of_atom: Callable[[Hashable], bool]) -> bool:
    """The value of a formula whose atoms are decided."""
    if formula.kind is Kind.CONSTANT:
        return formula.positive
    if formula.kind is Kind.LITERAL:
        return of_atom(formula.atom) is formula.positive
    return (all if formula.kind is Kind.ALL else any)(truth(part, of_atom) for part in formula.parts)


def atoms(formula: Formula) -> Iterable[Hashable]:
    """Its atoms, each once, in the order in which they were written."""
    found: dict[Hashable, None] = {}
    stack, seen = [formula], set[Formula]()  # parts are shared: the tree may be far larger than the formula
    while stack:
        top = stack.pop()
        if top.kind is Kind.LITERAL:
            found[top.atom] = None
        elif top not in seen:
            seen.add(top)
            stack.extend(reversed(top.parts))
    return found
