"""Decides demands: which values of a member or item lead to which rest.

After a member the formulas of its object hold demands on the member's value. `split` lists the outcomes: what the
value satisfies, and what is left for the rest, no value having two outcomes (Shannon's expansion, one demand after
the other).
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

from espalier.grammar.atom import Demand, Unevaluated, Unique
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.formula import FALSE, TRUE, Formula, Kind, Space, atoms
from espalier.grammar.value import Value

Vector = tuple[Formula, ...]
Branch = tuple[Formula, Vector]  # the value's shape, and what is left


def split(space: Space, vector: Vector, most: int) -> tuple[Branch, ...]:
    """The outcomes of a vector of formulas with demands; those that leave only FALSE are left out.

    Raises GrammarTooLargeError if there are more than `most`.
    """
    if len(vector) == 1:
        single = _conjunction(space, vector[0])
        if single is not None:
            return (single,) if single[1][0] is not FALSE else ()
    merged: dict[Vector, list[Formula]] = {}
    pending: list[Branch] = [(TRUE, vector)]
    steps = 0
    while pending:
        shape, left = pending.pop()
        steps += 1
        if steps > most:
            raise GrammarTooLargeError("verdicts", most, "combinations of subschemas that a value may satisfy")
        if all(formula is FALSE for formula in left):
            continue
        demand = _first_demand(left)
        if demand is None:
            merged.setdefault(left, []).append(shape)
            continue
        for holds in (False, True):
            claim = demand.shape if holds else space.invert(demand.shape)
            narrowed = space.all([shape, claim])
            if narrowed is not FALSE:
                pending.append((narrowed, tuple(_decide(space, formula, demand, holds) for formula in left)))
    return tuple((space.any(shapes), left) for left, shapes in merged.items())


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
