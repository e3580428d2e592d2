"""Decides demands: which values of a member or item lead to which rest.

After a member the formulas of its object hold demands on the member's value. `split` lists the outcomes: what the
value satisfies, and what is left for the rest, no value having two outcomes (Shannon's expansion, one demand after
the other).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Protocol

from espalier.grammar.atom import Demand, Unevaluated, Unique, Values
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.formula import FALSE, TRUE, Formula, Kind, Space, atoms
from espalier.grammar.kind import Kind as ValueKind
from espalier.grammar.kind import algebras
from espalier.grammar.schema import typed
from espalier.grammar.text import Language
from espalier.grammar.value import Value

Vector = tuple[Formula, ...]
Branch = tuple[Formula, Vector]  # the value's shape, and what is left
PATIENCE = 16  # decisions after which shapes that no value has are looked for


class Judge(Protocol):
    """Counts the work, and knows which shapes no value has."""

    def step(self, weight: int = 1) -> None:
        """Raises GrammarTooLargeError if there was too much work."""

    def is_empty(self, shape: Formula) -> bool:
        """Whether no value has a shape."""


def split(space: Space, vector: Vector, most: int, judge: Judge) -> tuple[Branch, ...]:
    """The outcomes of a vector of formulas with demands; those that leave only FALSE are left out.

    Raises GrammarTooLargeError if there are more than `most`.
    """
    if len(vector) == 1:
        single = _conjunction(space, vector[0])
        if single is not None:
            return (single,) if single[1][0] is not FALSE else ()
    merged: dict[Vector, list[Formula]] = {}
    pending = _by_literals(space, vector)
    steps = 0
    while pending:
        shape, left = pending.pop()
        if all(formula is FALSE for formula in left):
            continue
        demand = _first_demand(left)
        if demand is None:
            merged.setdefault(left, []).append(shape)
            continue
        steps += 1
        if steps > most:
            raise GrammarTooLargeError("verdicts", most, "combinations of subschemas that a value may satisfy")
        judge.step(1 + sum(len(formula.parts) for formula in left) // 16)
        for holds in (False, True):
            claim = demand.shape if holds else space.invert(demand.shape)
            narrowed = space.all([shape, claim])
            if narrowed is not FALSE and not (steps > PATIENCE and judge.is_empty(narrowed)):
                pending.append((narrowed, tuple(_decide(space, formula, demand, holds) for formula in left)))
    return tuple((space.any(shapes), left) for left, shapes in merged.items())


def _by_literals(space: Space, vector: Vector) -> list[Branch]:
    """The outcomes of demands that name finitely many values, as discriminators do, decided value by value."""
    named: dict[Demand, frozenset[Value]] = {}
    for formula in vector:
        for found in _all_demands(formula):
            values = _literals(space, found.shape)
            if values is not None:
                named[found] = values
    if len(named) < 2:
        return [(TRUE, vector)]
    holding: dict[Value, list[Demand]] = {}
    for found, values in named.items():
        for value in values:
            holding.setdefault(value, []).append(found)
    groups: dict[frozenset[Demand], list[Value]] = {}
    for value, held in holding.items():
        groups.setdefault(frozenset(held), []).append(value)
    other = space.invert(space.atom(Values(frozenset(holding))))
    branches = [(other, tuple(_decide_all(space, formula, dict.fromkeys(named, False)) for formula in vector))]
    for true, group in groups.items():
        verdicts = {one: one in true for one in named}
        shape = space.atom(Values(frozenset(group)))
        branches.append((shape, tuple(_decide_all(space, formula, verdicts) for formula in vector)))
    return branches


def _literals(space: Space, shape: Formula) -> frozenset[Value] | None:
    """All values of a shape, where they are listed or are strings only; None if there may be others."""
    cache = shape.remember()
    if "literals" not in cache:
        cache["literals"] = _find_literals(space, shape)
    found = cache["literals"]
    assert found is None or isinstance(found, frozenset)
    return found


def _find_literals(space: Space, shape: Formula) -> frozenset[Value] | None:
    if shape.kind is Kind.LITERAL and shape.positive and isinstance(shape.atom, Values):
        return shape.atom.values
    language = typed(shape, ValueKind.STRING, space)
    if not isinstance(language, Language) or language.operator != "literals" or not isinstance(language.key, frozenset):
        return None
    known = algebras(space)
    others = (kind for kind in ValueKind if kind is not ValueKind.STRING)
    return language.key if all(typed(shape, kind, space) == known[kind].bottom for kind in others) else None


def _all_demands(formula: Formula) -> tuple[Demand, ...]:
    cache = formula.remember()
    if "demands" not in cache:
        found: dict[Demand, None] = {}
        for atom in atoms(formula):
            if isinstance(atom, Demand):
                found[atom] = None
            elif isinstance(atom, Unevaluated):
                found.update(dict.fromkeys(one for _, left in atom.covers for one in _all_demands(left)))
        cache["demands"] = tuple(found)
    known = cache["demands"]
    assert isinstance(known, tuple)
    return known


def _decide_all(space: Space, formula: Formula, verdicts: Mapping[Demand, bool]) -> Formula:
    def decided(atom: Hashable) -> Formula:
        if isinstance(atom, Demand) and atom in verdicts:
            return TRUE if verdicts[atom] else FALSE
        if isinstance(atom, Unevaluated):
            return atom.inside(space, partial(_decide_all, space, verdicts=verdicts))
        return space.atom(atom)

    return space.map(formula, decided)


def _conjunction(space: Space, formula: Formula) -> Branch | None:
    """The only outcome of a conjunction of demands and of what holds none; None if the formula is no such."""
    parts = formula.parts if formula.kind is Kind.ALL else (formula,)
    shapes, rest = [], []
    for part in parts:
        if part.kind is Kind.LITERAL and isinstance(part.atom, Demand):
            shapes.append(part.atom.shape if part.positive else space.invert(part.atom.shape))
        elif _first_demand((part,)) is None:
            rest.append(part)
        else:
            return None
    return space.all(shapes), (space.all(rest),)


def _first_demand(vector: Vector) -> Demand | None:
    for formula in vector:
        found = _demand_in(formula)
        if found is not None:
            return found
    return None


def _demand_in(formula: Formula) -> Demand | None:
    cache = formula.remember()
    if "demand" not in cache:
        cache["demand"] = _search_demand(formula)
    found = cache["demand"]
    assert found is None or isinstance(found, Demand)
    return found


def _search_demand(formula: Formula) -> Demand | None:
    for atom in atoms(formula):
        if isinstance(atom, Demand):
            return atom
        if isinstance(atom, Unevaluated):
            for _, left in atom.covers:
                found = _demand_in(left)
                if found is not None:
                    return found
    return None


def _decide(space: Space, formula: Formula, demand: Demand, holds: bool) -> Formula:
    def decided(atom: Hashable) -> Formula:
        if atom == demand:
            return TRUE if holds else FALSE
        if isinstance(atom, Unevaluated):
            return atom.inside(space, partial(_decide, space, demand=demand, holds=holds))
        return space.atom(atom)

    return space.map(formula, decided)


def is_open(formula: Formula) -> bool:
    """Whether the formula waits for the value of the last item."""
    cache = formula.remember()
    if "open" not in cache:
        cache["open"] = any(
            (isinstance(atom, Unique) and atom.is_open)
            or (isinstance(atom, Unevaluated) and any(is_open(left) for _, left in atom.covers))
            for atom in atoms(formula)
        )
    return cache["open"] is True


def close(space: Space, formula: Formula, value: Value) -> Formula:
    """The formula when the last item's value is known."""

    def closed(atom: Hashable) -> Formula:
        if isinstance(atom, Unique) and atom.is_open:
            return space.atom(Unique(atom.seen | {value}))
        if isinstance(atom, Unevaluated):
            return atom.inside(space, lambda left: close(space, left, value))
        return space.atom(atom)

    return space.map(formula, closed) if is_open(formula) else formula


def unseen(space: Space, formula: Formula) -> Formula:
    """The formula as if no item had come yet, as far as uniqueness goes."""

    def changed(atom: Hashable) -> Formula:
        if isinstance(atom, Unique):
            return space.atom(Unique(frozenset()))
        if isinstance(atom, Unevaluated):
            return atom.inside(space, lambda left: unseen(space, left))
        return space.atom(atom)

    return space.map(formula, changed)
