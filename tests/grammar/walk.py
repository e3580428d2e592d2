"""Random walks through the masks of a vocabulary, and two validators that judge what a walk wrote.

A walk draws uniformly from the allowed tokens until it draws the end token or its budget is spent; then the shortest
completion ends it. Knows nothing of how a mask is made.
"""

from __future__ import annotations

import decimal
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import jsonschema_rs
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.validators import extend, validator_for  # type: ignore[import-untyped]

from espalier.grammar import Cursor, Json, RejectedError, Vocabulary
from tests.grammar import suite

BUDGETS = (0, 1, 4, 16, 48, 160)  # tokens
METASCHEMAS = {uri: text for uri, text in suite.documents().items() if not uri.startswith(suite.REMOTES)}
_ROUNDED = re.compile(r"[0-9.]{16}|[0-9][eE][+-]?[0-9]{2}")  # numbers that a float may not hold


@dataclass(frozen=True, slots=True)
class Options:
    """One combination of the spelling options of `Json`."""

    property_order: Literal["schema", "any"]
    white_space: Literal["compact", "natural"]
    escapes: Literal["needed", "any"]
    assert_formats: bool

    def constraint(self, schema: Any) -> Json:
        """A schema in this spelling."""
        return Json(
            schema,
            property_order=self.property_order,
            white_space=self.white_space,
            escapes=self.escapes,
            assert_formats=self.assert_formats,
            documents=tuple(METASCHEMAS.items()) if "://json-schema.org/" in json.dumps(schema) else (),
        )

    def __str__(self) -> str:
        formats = "asserted" if self.assert_formats else "annotated"
        return f"order {self.property_order}, white space {self.white_space}, escapes {self.escapes}, formats {formats}"


OPTIONS = tuple(
    Options("any" if order else "schema", "natural" if space else "compact", "any" if escapes else "needed", formats)
    for order, space, escapes, formats in itertools.product((False, True), repeat=4)
)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk wrote: `num_tokens` drawn, then `tail_len` bytes of the shortest completion; or what went wrong."""

    text: bytes
    num_tokens: int
    tail_len: int
    fault: str | None = None


def walk(cursor: Cursor, random: Random, vocabulary: Vocabulary, end_token: int, budget: int) -> Walk:
    """One walk. It draws up to `budget` tokens, and tries the shortest completion of some places on its way."""
    text = bytearray()
    for num_tokens in range(budget):
        allowed = cursor.allowed()
        tokens = vocabulary.unpacked(allowed.mask)
        if allowed.tokens is not None and allowed.tokens.tolist() != tokens.tolist():
            return Walk(bytes(text), num_tokens, 0, "the list of tokens is not that of the mask")
        if not tokens.size:
            return Walk(bytes(text), num_tokens, 0, "nothing is allowed")
        token = int(tokens[random.randrange(tokens.size)])
        if (end_token in tokens) != cursor.is_complete():
            return Walk(bytes(text), num_tokens, 0, "the end token is allowed elsewhere than at the end")
        try:
            cursor.accept(token)
        except RejectedError as error:
            return Walk(bytes(text), num_tokens, 0, f"allows token {token}, but: {error}")
        if token == end_token:
            return Walk(bytes(text), num_tokens, 0)
        text += vocabulary.tokens[token] or b""
        if random.random() < 0.05 and (fault := _completed(cursor.copy(), bytes(text), 0).fault):
            return Walk(bytes(text), num_tokens, 0, fault)
    return _completed(cursor, bytes(text), budget)


def _completed(cursor: Cursor, text: bytes, num_tokens: int) -> Walk:
    tail, fault = cursor.shortest_completion(), None
    try:
        cursor.accept_bytes(tail)
        if not cursor.is_complete():
            fault = f"the completion {tail!r} completes nothing"
    except RejectedError as error:
        fault = f"the completion {tail!r} is not allowed: {error}"
    return Walk(text + tail, num_tokens, len(tail), fault)


class Judge:
    """Two validators of one schema: jsonschema with exact decimals, and jsonschema_rs with floats.

    1.0 is an integer to them in draft 4 too, as exceptions.toml says why.
    """

    def __init__(self, schema: Any, assert_formats: bool) -> None:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        exact = json.loads(text, parse_float=decimal.Decimal)
        kind = validator_for(exact, default=Draft202012Validator)
        types = kind.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer})
        formats = kind.FORMAT_CHECKER if assert_formats else None
        self._exact = extend(kind, type_checker=types)(exact, format_checker=formats)
        self._fast: Any = None
        named = jsonschema_rs.validator_for if isinstance(exact, dict) and "$schema" in exact else None
        try:
            make = named or jsonschema_rs.Draft202012Validator
            self._fast = make(json.loads(text), validate_formats=assert_formats)
        except ValueError:  # a schema that this validator refuses
            pass

    def faults(self, text: str) -> Iterator[str]:
        """What either validator has against a JSON text. jsonschema_rs is not asked where floats would round."""
        try:
            value = json.loads(text, parse_float=decimal.Decimal, object_pairs_hook=_no_duplicates)
        except ValueError as error:
            yield f"not JSON: {error}"
            return
        with decimal.localcontext(prec=2000):
            try:
                for found in self._exact.iter_errors(value):
                    if not _is_mistaken(found):
                        place = "/".join(map(str, found.absolute_schema_path))
                        yield f"jsonschema: {found.message[:200]} ({place})"
                        break
            except (RecursionError, re.error):  # too deep for Python, or a pattern that its dialect lacks
                pass
        if self._fast is not None and not _ROUNDED.search(text):
            try:
                self._fast.validate(json.loads(text, parse_float=shortest))
            except jsonschema_rs.ValidationError as error:
                place = "/".join(map(str, error.schema_path))
                yield f"jsonschema_rs: {error.message[:200]} ({place})"
            except ValueError:  # nested deeper than this validator reads
                pass

    def keywords(self, text: str) -> set[str]:
        """The keywords that jsonschema_rs has evaluated for values of the kind that they are about."""
        if self._fast is None:
            return set()
        try:
            value = json.loads(text, parse_float=shortest)
            details = self._fast.evaluate(value).list()["details"]
        except ValueError:
            return set()
        found: set[str] = set()
        for each in details:
            *above, name = each["evaluationPath"].split("/")
            if name not in found and name in KINDS and (above[-1:] or [""])[0] not in _NAMED:
                kind = KINDS[name]
                if kind is None or isinstance(_at(value, each["instanceLocation"]), kind):
                    found.add(name)
        return found


def _is_mistaken(error: Any) -> bool:
    """Whether jsonschema differs from the standards: Python's dates lack the year 0 (RFC 3339 has it), and its patterns
    take U+2028 and U+2029 for no line terminators (ECMA-262 does).
    """
    if error.validator == "format":
        return str(error.instance).startswith("0000-")
    return error.validator == "patternProperties" and any(set("\u2028\u2029") & set(name) for name in error.instance)


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value.get(part)
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"a name occurs twice: {[name for name, _ in pairs]}")
    return dict(pairs)


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool)


def _is_integer(_: Any, value: Any) -> bool:
    is_whole = isinstance(value, decimal.Decimal) and value == value.to_integral_value()
    return is_whole or (isinstance(value, int) and not isinstance(value, bool))


def shortest(text: str) -> int | float:
    """A number as JSON means it: 1.0 is 1."""
    number = float(text)
    return int(number) if number.is_integer() else number


_NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")
_ANY = "type enum const allOf anyOf oneOf not if then else $ref $dynamicRef $recursiveRef".split()
_OBJECT = (
    "properties patternProperties additionalProperties required propertyNames minProperties maxProperties "
    "dependentRequired dependentSchemas dependencies unevaluatedProperties"
).split()
_ARRAY = (
    "prefixItems items additionalItems contains minContains maxContains minItems maxItems uniqueItems unevaluatedItems"
).split()
_NUMBER = "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf".split()
_STRING = "minLength maxLength pattern format".split()
KINDS: dict[str, type | tuple[type, ...] | None] = {
    **dict.fromkeys(_ANY),
    **dict.fromkeys(_OBJECT, dict),
    **dict.fromkeys(_ARRAY, list),
    **dict.fromkeys(_NUMBER, (int, float)),
    **dict.fromkeys(_STRING, str),
}
