"""Constraints: what an answer may be, as values that compose, compare, hash and travel as JSON or MessagePack.

The alphabet is the 256 bytes and the ids of special tokens. `part` names what the bytes of a constraint are (text, tool
name, arguments, answer ...): the cursor's events carry it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal as OneOfThese
from typing import TypeAlias

import msgspec

from espalier.grammar.errors import GrammarTooLargeError, SchemaError

Schema: TypeAlias = str | bool | dict[str, object]
Documents: TypeAlias = dict[str, Schema] | tuple[tuple[str, Schema], ...]


class Constraint(msgspec.Struct, frozen=True, tag=True):
    """The root of all constraints."""


class Literal(Constraint, frozen=True, tag=True):
    """Exactly this text."""

    text: bytes
    part: str | None = None


class Choice(Constraint, frozen=True, tag=True):
    """One of these texts."""

    texts: tuple[bytes, ...]
    part: str | None = None


class Regex(Constraint, frozen=True, tag=True):
    """A text that an ECMA-262 regular expression matches as a whole."""

    pattern: str
    part: str | None = None


class Special(Constraint, frozen=True, tag=True):
    """One special token."""

    token: int
    part: str | None = None


class Text(Constraint, frozen=True, tag=True):
    """Any text up to and with its end: a text, or a special token, or (None) wherever what follows may begin.

    A special token's name spelled in ordinary tokens does not end it.
    """

    until: bytes | int | None = None
    part: str | None = None


class Json(Constraint, frozen=True, tag=True):
    """A JSON text whose value satisfies a JSON Schema.

    `schema` and `documents` (by URI, for references) are given as Python values or as JSON texts, and are kept as
    texts. The dialect is that of `$schema`, else `draft`. Members come in the order of the schema, or in any; white
    space is none, or natural: one space, or a line break with indentation, where people put it; or spaced: one space
    behind each comma and colon, as Python's json writes it. With Python's words for null, true and false the text is a
    Python literal. Formats are annotations unless `assert_formats`; with `formats_can_yield` also where the pattern,
    length or values beside one leave nothing of it. SchemaError if what is given cannot be JSON.
    """

    schema: Schema
    property_order: OneOfThese["schema", "any"] = "schema"
    white_space: OneOfThese["compact", "natural", "spaced"] = "compact"
    escapes: OneOfThese["needed", "any"] = "needed"
    words: OneOfThese["json", "python"] = "json"
    documents: Documents = ()
    assert_formats: bool = False
    formats_can_yield: bool = False
    draft: OneOfThese["draft-04", "draft-06", "draft-07", "2019-09", "2020-12"] = "2020-12"
    part: str | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "schema", _text(self.schema))
        given = self.documents.items() if isinstance(self.documents, Mapping) else self.documents
        msgspec.structs.force_setattr(
            self, "documents", tuple(sorted((uri, _text(document)) for uri, document in given))
        )


class AnyJson(Constraint, frozen=True, tag=True):
    """Any JSON text, compact."""

    part: str | None = None


class Sequence(Constraint, frozen=True, tag=True):
    """One after the other."""

    items: tuple[AnyConstraint, ...]


class OneOf(Constraint, frozen=True, tag=True):
    """Any of them."""

    options: tuple[AnyConstraint, ...]


class Repeat(Constraint, frozen=True, tag=True):
    """So many times in a row; `most` None is without bound."""

    item: AnyConstraint
    least: int = 0
    most: int | None = None


AnyConstraint = Literal | Choice | Regex | Special | Text | Json | AnyJson | Sequence | OneOf | Repeat


def _text(schema: object) -> str:
    """A schema as JSON; texts stay as they are."""
    if isinstance(schema, str):
        return schema
    try:
        return json.dumps(schema, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise GrammarTooLargeError("nesting", 0, "the schema is nested too deeply to be written as JSON") from None
    except (TypeError, ValueError) as error:
        raise SchemaError(f"a schema has to be JSON: {error}") from None
