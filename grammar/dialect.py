"""The drafts of JSON Schema.

Which keywords hold schemas, how resources are named, what a reference does to its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from espalier.grammar.value import Json


class Holds(Enum):
    """Where a keyword holds schemas."""

    ONE = "a schema"
    LIST = "a list of schemas"
    MAP = "schemas by name"
    ONE_OR_LIST = "a schema or a list of schemas"
    MAP_OR_NAMES = "schemas or lists of names, by name"


_COMMON = {
    "properties": Holds.MAP,
    "patternProperties": Holds.MAP,
    "additionalProperties": Holds.ONE,
    "allOf": Holds.LIST,
    "anyOf": Holds.LIST,
    "oneOf": Holds.LIST,
    "not": Holds.ONE,
    "definitions": Holds.MAP,
}
_SIX = {"propertyNames": Holds.ONE, "contains": Holds.ONE}
_SEVEN = {"if": Holds.ONE, "then": Holds.ONE, "else": Holds.ONE}
_OLD_ARRAYS = {"items": Holds.ONE_OR_LIST, "additionalItems": Holds.ONE}
_OLD_DEPENDENCIES = {"dependencies": Holds.MAP_OR_NAMES}
_NEW = {
    "$defs": Holds.MAP,
    "dependentSchemas": Holds.MAP,
    "unevaluatedProperties": Holds.ONE,
    "unevaluatedItems": Holds.ONE,
    "contentSchema": Holds.ONE,
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One draft; `vocabularies` None means all of its own, and formats as annotations."""

    name: str
    uri: str
    positions: Mapping[str, Holds] = field(compare=False)
    id_keyword: str = "$id"
    ref_hides_siblings: bool = False
    boolean_schemas: bool = True
    vocabularies: frozenset[str] | None = None

    def subschemas(self, data: dict[str, Json]) -> Iterator[tuple[str, Json]]:
        """The schemas directly inside a schema, with their JSON pointers from it."""
        for keyword, value in data.items():
            holds = self.positions.get(keyword)
            if holds is None:
                continue
            if isinstance(value, dict) and holds in _MAPS:
                for name, inner in value.items():
                    if holds is Holds.MAP or not isinstance(inner, list):
                        yield f"/{keyword}/{escape(name)}", inner
            elif isinstance(value, list) and holds in _LISTS:
                for index, inner in enumerate(value):
                    yield f"/{keyword}/{index}", inner
            elif holds in _ONES:
                yield f"/{keyword}", value


_MAPS, _LISTS = (Holds.MAP, Holds.MAP_OR_NAMES), (Holds.LIST, Holds.ONE_OR_LIST)
_ONES = (Holds.ONE, Holds.ONE_OR_LIST)


def escape(name: str) -> str:
    """A name as a token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _positions(*tables: dict[str, Holds]) -> dict[str, Holds]:
    return {keyword: holds for table in tables for keyword, holds in table.items()}


DRAFT_4 = Dialect(
    "draft-04",
    "http://json-schema.org/draft-04/schema",
    _positions(_COMMON, _OLD_ARRAYS, _OLD_DEPENDENCIES),
    id_keyword="id",
    ref_hides_siblings=True,
    boolean_schemas=False,
)
DRAFT_6 = Dialect(
    "draft-06",
    "http://json-schema.org/draft-06/schema",
    _positions(_COMMON, _OLD_ARRAYS, _OLD_DEPENDENCIES, _SIX),
    ref_hides_siblings=True,
)
DRAFT_7 = Dialect(
    "draft-07",
    "http://json-schema.org/draft-07/schema",
    _positions(_COMMON, _OLD_ARRAYS, _OLD_DEPENDENCIES, _SIX, _SEVEN),
    ref_hides_siblings=True,
)
DRAFT_2019_09 = Dialect(
    "2019-09",
    "https://json-schema.org/draft/2019-09/schema",
    _positions(_COMMON, _OLD_ARRAYS, _OLD_DEPENDENCIES, _SIX, _SEVEN, _NEW),
)
DRAFT_2020_12 = Dialect(
    "2020-12",
    "https://json-schema.org/draft/2020-12/schema",
    _positions(_COMMON, {"items": Holds.ONE, "prefixItems": Holds.LIST}, _OLD_DEPENDENCIES, _SIX, _SEVEN, _NEW),
)
DIALECTS = (DRAFT_4, DRAFT_6, DRAFT_7, DRAFT_2019_09, DRAFT_2020_12)
BY_URI = {dialect.uri: dialect for dialect in DIALECTS}
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
