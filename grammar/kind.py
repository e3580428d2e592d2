"""The kinds of JSON values, and for each the Boolean algebra in which a schema's part about that kind is written.

A part about null, true or false is a bool; about numbers a `NumberSet`; about strings a `Language`; about arrays and
objects a formula over atoms. Each algebra has its conjunction, disjunction and complement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from espalier.grammar import number_set
from espalier.grammar.formula import FALSE, TRUE, Formula, Space
from espalier.grammar.number_set import NumberSet
from espalier.grammar.text import Language
from espalier.grammar.value import Bool, Members, Value


class Kind(Enum):
    """What a JSON value is; true and false count apart."""

    NULL = "null"
    TRUE = "true"
    FALSE = "false"
    NUMBER = "number"
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a slow Python call


T = TypeVar("T")
Part = bool | NumberSet | Language | Formula


@dataclass(frozen=True, slots=True)
class Algebra:
    """How parts about one kind combine."""

    all: Callable[[Iterable[Any]], Any]
    any: Callable[[Iterable[Any]], Any]
    invert: Callable[[Any], Any]
    top: Part
    bottom: Part


def combined(parts: Iterable[T], combine: Callable[[T, T], T], neutral: T, absorbing: T) -> T:
    """Equal parts count once, and small ones are combined first: formulas have thousands of parts, most alike."""
    level = [part for part in dict.fromkeys(parts) if part != neutral]
    if absorbing in level:
        return absorbing
    while len(level) > 1:
        joined = [combine(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = [*joined, *level[2 * len(joined) :]]
    return level[0] if level else neutral


_BOOL = Algebra(all, any, lambda part: not part, True, False)
_NUMBER = Algebra(
    lambda parts: combined(parts, NumberSet.__and__, number_set.EVERY, number_set.NOTHING),
    lambda parts: combined(parts, NumberSet.__or__, number_set.NOTHING, number_set.EVERY),
    NumberSet.__invert__,
    number_set.EVERY,
    number_set.NOTHING,
)
_STRING = Algebra(
    lambda parts: combined(parts, Language.__and__, Language.EVERY, Language.NOTHING),
    lambda parts: combined(parts, Language.__or__, Language.NOTHING, Language.EVERY),
    Language.__invert__,
    Language.EVERY,
    Language.NOTHING,
)


def algebras(space: Space) -> dict[Kind, Algebra]:
    """The algebra of each kind, formulas made in one space; made once for each space."""
    found = space.algebras
    if found is None:
        formula = Algebra(space.all, space.any, space.invert, TRUE, FALSE)
        found = space.algebras = {
            Kind.NULL: _BOOL,
            Kind.TRUE: _BOOL,
            Kind.FALSE: _BOOL,
            Kind.NUMBER: _NUMBER,
            Kind.STRING: _STRING,
            Kind.ARRAY: formula,
            Kind.OBJECT: formula,
        }
    return found


def kind_of(value: Value) -> Kind:
    """The kind of a value."""
    if value is None:
        return Kind.NULL
    if isinstance(value, Bool):
        return Kind.TRUE if value is Bool.TRUE else Kind.FALSE
    if isinstance(value, str):
        return Kind.STRING
    if isinstance(value, Members):
        return Kind.OBJECT
    return Kind.ARRAY if isinstance(value, tuple) else Kind.NUMBER
