"""JSON values as JSON Schema compares them: 1 equals 1.0, the order of an object's names says nothing.

A `Value` is hashable: None, `Bool`, an exact number (int or Fraction), str, a tuple for an array, `Members` for an
object. Numbers are never floats, so `0.1` is one tenth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TypeAlias

from espalier.grammar.errors import GrammarTooLargeError, SchemaError

Json: TypeAlias = "bool | int | float | Decimal | str | list[Json] | dict[str, Json] | None"
MAX_EXPONENT = 5_000  # of a number in a schema: 1e5000 has as many digits as Python prints of an int


class Bool(Enum):
    """True and false, which Python would hold equal to 1 and 0."""

    FALSE = "false"
    TRUE = "true"


class Members(frozenset["tuple[str, Value]"]):
    """An object: its names with their values."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and frozenset.__eq__(self, other)

    __hash__ = frozenset.__hash__


Value: TypeAlias = "Bool | int | Fraction | str | tuple[Value, ...] | Members | None"


def exact(number: float | Decimal) -> int | Fraction:
    """The number that is written so: a float means its shortest decimal. SchemaError if it is none."""
    decimal = number if isinstance(number, Decimal) else Decimal(repr(number))
    if not decimal.is_finite():
        raise SchemaError(f"{number} is not a JSON number")
    if decimal and abs(decimal.adjusted()) > MAX_EXPONENT:
        raise GrammarTooLargeError("number exponent", MAX_EXPONENT, f"the number {str(number)[:40]}")
    fraction = Fraction(decimal)
    return fraction.numerator if fraction.denominator == 1 else fraction


def to_value(data: Json) -> Value:
    """The comparable form of what a JSON parser returned."""
    if data is None or isinstance(data, str):
        return data
    if isinstance(data, bool):
        return Bool.TRUE if data else Bool.FALSE
    if isinstance(data, list):
        return tuple(to_value(item) for item in data)
    if isinstance(data, dict):
        return Members((name, to_value(item)) for name, item in data.items())
    return data if isinstance(data, int) else exact(data)


def number_text(number: int | Fraction) -> str | None:
    """A number in plain decimal digits; None if it has no finite decimal expansion."""
    fraction = Fraction(number)
    denominator, digits = fraction.denominator, 0
    while denominator % 10 == 0:
        denominator, digits = denominator // 10, digits + 1
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator, digits = denominator // prime, digits + 1
    if denominator != 1:
        return None
    scaled = str(abs(int(fraction * 10**digits))).rjust(digits + 1, "0")
    text = f"{scaled[: len(scaled) - digits]}.{scaled[len(scaled) - digits :]}" if digits else scaled
    return f"-{text}" if number < 0 else text


def to_json(value: Value) -> str:
    """Compact JSON of a value; numbers in plain digits."""
    if value is None:
        return "null"
    if isinstance(value, Bool):
        return value.value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Members):
        pairs = sorted(value, key=lambda pair: pair[0])
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{to_json(item)}" for name, item in pairs) + "}"
    if isinstance(value, tuple):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    return number_text(value) or str(value)


def parse(text: str | bytes) -> Json:
    """What a JSON text holds, numbers exact. ValueError if it is no JSON, RecursionError if nested too deeply."""
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse)  # type: ignore[no-any-return]


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is not JSON")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")


def nesting(text: str) -> int:
    """How deeply arrays and objects nest in a JSON text."""
    deepest = depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def walk(data: Json) -> Iterator[Json]:
    """The data and everything inside it, without recursion."""
    stack: list[Json] = [data]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
