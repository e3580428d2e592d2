"""What a formula about the rest of an array or object says at a glance: whether it may end, and what it still needs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from espalier.grammar.atom import Contains, Count, ExactArray, ExactObject, Items, Required, Unevaluated, Unique
from espalier.grammar.formula import FALSE, Formula, Kind, Space, truth

if TYPE_CHECKING:
    from espalier.grammar.names import NameTable


def at_end(formula: Formula) -> bool:
    """Whether a formula holds if no member or item follows."""
    cache = formula.remember()
    if "at_end" not in cache:
        cache["at_end"] = truth(formula, _atom_at_end)
    return cache["at_end"] is True


def _atom_at_end(atom: Hashable) -> bool:
    return atom.at_end()  # type: ignore[attr-defined,no-any-return]


def conjuncts(formula: Formula) -> tuple[Formula, ...]:
    """The parts of a conjunction; a formula that is none is its only part."""
    return formula.parts if formula.kind is Kind.ALL else (formula,)


def disjuncts(space: Space, formula: Formula) -> list[Formula] | None:
    """The formula as a disjunction, what needs least first; None if it has none.

    Of several disjunctions the one with the fewest arms that the rest of the formula allows. Negated counts become
    positive.
    """
    if formula.kind is Kind.ANY:
        return sorted(formula.parts, key=num_needed)
    parts = conjuncts(formula)
    given, best = set(parts), None
    for place, part in enumerate(parts):
        arms = part.parts if part.kind is Kind.ANY else _refuted(space, part)
        if arms is not None:
            open_arms = [arm for arm in arms if not any(one.negation in given for one in conjuncts(arm))]
            if best is None or len(open_arms) < len(best[1]):
                best = (place, open_arms)
    if best is None:
        return None
    others = [other for index, other in enumerate(parts) if index != best[0]]
    return sorted((space.all([*others, arm]) for arm in best[1]), key=num_needed)


def _refuted(space: Space, literal: Formula) -> tuple[Formula, ...] | None:
    """The ways in which a negated count fails."""
    if literal.kind is not Kind.LITERAL or literal.positive or not isinstance(literal.atom, Count | Contains):
        return None
    atom = literal.atom
    wide: list[tuple[int, int | None]] = [(0, atom.least - 1)] if atom.least > 0 else []
    if atom.most is not None:
        wide.append((atom.most + 1, None))
    if isinstance(atom, Count):
        return tuple(space.atom(Count(least, most)) for least, most in wide)
    return tuple(space.atom(Contains(atom.shape, least, most)) for least, most in wide)


def needed_name(formula: Formula) -> str | None:
    """A name that every completion has."""
    for part in conjuncts(formula):
        if part.kind is Kind.LITERAL and part.positive:
            if isinstance(part.atom, Required):
                return part.atom.missing[0]
            if isinstance(part.atom, ExactObject) and part.atom.members:
                return part.atom.members[0][0]
    return None


def num_needed(formula: Formula) -> int:
    """How many members or items a formula may still ask for: no completion need be longer, as far as counts go."""
    cache = formula.remember()
    found = cache.get("needed")
    if found is None:
        found = cache["needed"] = _num_needed(formula)
    assert isinstance(found, int)
    return found


def _num_needed(formula: Formula) -> int:
    if formula.kind is Kind.CONSTANT:
        return 0
    if formula.kind is Kind.LITERAL:
        return _least(formula.atom) if formula.positive else _least_against(formula.atom)
    needs = [num_needed(part) for part in formula.parts]
    return sum(needs) if formula.kind is Kind.ALL else max(needs)


def _least(atom: Hashable) -> int:
    if isinstance(atom, Count | Contains):
        return atom.least
    if isinstance(atom, ExactArray):
        return len(atom.items)
    if isinstance(atom, ExactObject):
        return len(atom.members)
    return len(atom.missing) if isinstance(atom, Required) else 0


def _least_against(atom: Hashable) -> int:
    if not _atom_at_end(atom):
        return 0
    if isinstance(atom, Count | Contains):
        return 0 if atom.most is None else atom.most + 1
    if isinstance(atom, ExactArray):
        return len(atom.items) + 1
    return len(atom.prefix) + 1 if isinstance(atom, Items) else 2 if isinstance(atom, Unique) else 1


def without(space: Space, formula: Formula, table: NameTable, forbidden: int) -> Formula:
    """The formula when some known names cannot come any more: what still needs one of them fails."""
    if not forbidden:
        return formula
    cache = formula.remember()
    key = ("without", table, forbidden)
    found = cache.get(key)
    if found is None:
        found = cache[key] = _without(space, formula, table, forbidden)
    assert isinstance(found, Formula)
    return found


def _without(space: Space, formula: Formula, table: NameTable, forbidden: int) -> Formula:
    if formula.kind is Kind.CONSTANT:
        return formula
    if formula.kind is not Kind.LITERAL:
        combine = space.all if formula.kind is Kind.ALL else space.any
        return combine([without(space, part, table, forbidden) for part in formula.parts])
    atom = formula.atom
    if isinstance(atom, Unevaluated):
        image = atom.inside(space, lambda left: without(space, left, table, forbidden))
    elif isinstance(atom, Required | ExactObject) and any(forbidden >> table.index[n] & 1 for n in atom.names()):
        image = FALSE
    else:
        return formula
    return image if formula.positive else space.invert(image)


def least_of(left: int | None, right: int | None) -> int | None:
    """The smaller of two bounds, of which None is no bound."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


def has_negated(formula: Formula, kind: type) -> bool:
    """Whether an atom of a class stands in a formula under a negation."""
    if formula.kind is Kind.LITERAL:
        return not formula.positive and isinstance(formula.atom, kind)
    return any(has_negated(part, kind) for part in formula.parts)
