"""Random schemas in which every keyword of a draft meets every other, and random values that may satisfy them.

Names, strings and numbers come from small pools, so that keywords interact and values hit. Knows nothing of grammars.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any] | bool
NAMES = ("a", "b", "c", "ab", "d")
STRINGS = ("", "a", "b", "ab", "ba", "aab", "abc", "é", "b1", 'q"\\\n')
NUMBERS = (-2, -1, 0, 1, 2, 3, 4, 6, 7, 12, 0.5, 1.5, -0.5, 0.25, 2.0, 100)
PATTERNS = ("^a", "b$", "^[ab]*$", "a.*b", "^.$", "[^a]", "^(ab)+$", "1|é")
TYPES = ("null", "boolean", "number", "integer", "string", "array", "object")
URI = "https://json-schema.org/draft/2020-12/schema"


class SchemaMaker:
    """Makes schemas of draft 2020-12 from one source of randomness."""

    def __init__(self, random: Random, depth: int = 3) -> None:
        self.random, self.depth = random, depth
        self.num_defs = random.choice((0, 0, 1, 2))
        self.is_dynamic = self.num_defs > 0 and random.random() < 0.15

    def schema(self) -> Schema:
        """A whole schema, with its definitions."""
        made = self.subschema(self.depth)
        found: dict[str, Any] = {
            "$schema": URI,
            **(made if isinstance(made, dict) else {"not": {}} if not made else {}),
        }
        if self.num_defs:
            found["$defs"] = {f"d{index}": self.subschema(2) for index in range(self.num_defs)}
        if self.is_dynamic:
            found["$dynamicAnchor"] = "node"
            found["$defs"]["d0"] = {"$id": "inner", "$dynamicAnchor": "node", **self._object(self.subschema(1))}
        return found

    @staticmethod
    def _object(schema: Schema) -> dict[str, Any]:
        return schema if isinstance(schema, dict) else {}

    def subschema(self, depth: int) -> Schema:
        """A schema with up to so many levels inside."""
        if self.random.random() < 0.08:
            return self.random.random() < 0.6
        found: dict[str, Any] = {}
        kinds = self.random.choices(
            list(_GROUPS), [weight for weight, _ in _GROUPS.values()], k=self.random.choice((1, 1, 2, 2, 3))
        )
        for kind in dict.fromkeys(kinds):
            _GROUPS[kind][1](self, found, depth)
        return found

    def inner(self, depth: int) -> Schema:
        """A schema one level down."""
        if depth <= 0:
            return self.random.choice(
                (True, {"type": self.random.choice(TYPES)}, {"const": self.value(0)}, {"enum": self.values()})
            )
        return self.subschema(depth - 1)

    def value(self, depth: int) -> Any:
        """Any JSON value."""
        return random_value(self.random, depth)

    def values(self) -> list[Any]:
        """A few values."""
        return [self.value(1) for _ in range(self.random.randint(1, 3))]

    def some(self, pool: tuple[str, ...], most: int) -> list[str]:
        """Some of a pool."""
        return self.random.sample(pool, self.random.randint(1, most))

    def maybe(self, share: float) -> bool:
        """True so often."""
        return self.random.random() < share


def random_value(random: Random, depth: int) -> Any:
    """Any JSON value, arrays and objects nested up to `depth`."""
    kind = random.random()
    if depth > 0 and kind < 0.3:
        return [random_value(random, depth - 1) for _ in range(random.choice((0, 1, 1, 2, 2, 3)))]
    if depth > 0 and kind < 0.65:
        names = random.sample(NAMES, random.choice((0, 1, 1, 2, 2, 3)))
        return {name: random_value(random, depth - 1) for name in names}
    if kind < 0.78:
        return random.choice(NUMBERS)
    return random.choice(STRINGS) if kind < 0.92 else random.choice((None, True, False))


def mutated(random: Random, value: Any) -> Any:
    """A value a little different somewhere."""
    if isinstance(value, dict) and value and random.random() < 0.75:
        name, found = random.choice(list(value)), dict(value)
        kind = random.random()
        if kind < 0.3:
            del found[name]
        elif kind < 0.7:
            found[name] = mutated(random, found[name])
        else:
            found[random.choice(NAMES)] = random_value(random, 1)
        return found
    if isinstance(value, list) and value and random.random() < 0.75:
        index, items = random.randrange(len(value)), list(value)
        kind = random.random()
        if kind < 0.3:
            del items[index]
        elif kind < 0.7:
            items[index] = mutated(random, items[index])
        else:
            items.insert(index, random.choice((items[index], random_value(random, 1))))
        return items
    return random_value(random, 1)


def constants(schema: Any) -> list[Any]:
    """The values that a schema names."""
    found: list[Any] = []
    stack = [schema]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            found.extend([top["const"]] if "const" in top else [])
            found.extend(top["enum"] if isinstance(top.get("enum"), list) else [])
            stack.extend(top.values())
        elif isinstance(top, list):
            stack.extend(top)
    return found


Group: TypeAlias = Callable[[SchemaMaker, dict[str, Any], int], None]


def _type(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    several = make.maybe(0.3)
    schema["type"] = make.some(TYPES, 3) if several else make.random.choice(TYPES)


def _enum(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.5):
        schema["const"] = make.value(2)
    else:
        schema["enum"] = make.values()


def _number(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.6):
        schema[make.random.choice(("minimum", "exclusiveMinimum"))] = make.random.choice(NUMBERS)
    if make.maybe(0.6):
        schema[make.random.choice(("maximum", "exclusiveMaximum"))] = make.random.choice(NUMBERS)
    if make.maybe(0.4):
        schema["multipleOf"] = make.random.choice((1, 2, 3, 0.5, 1.5, 0.25))


def _string(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.4):
        schema["minLength"] = make.random.randint(0, 3)
    if make.maybe(0.4):
        schema["maxLength"] = make.random.randint(0, 4)
    if make.maybe(0.5):
        schema["pattern"] = make.random.choice(PATTERNS)


def _members(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.7):
        schema["properties"] = {name: make.inner(depth) for name in make.some(NAMES, 3)}
    if make.maybe(0.25):
        schema["patternProperties"] = {source: make.inner(depth) for source in make.some(PATTERNS, 2)}
    if make.maybe(0.3):
        schema["additionalProperties"] = make.inner(depth) if make.maybe(0.6) else False
    if make.maybe(0.12):
        schema["propertyNames"] = make.random.choice(
            ({"pattern": make.random.choice(PATTERNS)}, {"maxLength": 1}, {"enum": ["a", "b"]})
        )


def _member_counts(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.6):
        schema["required"] = make.some(NAMES, 2)
    if make.maybe(0.25):
        schema["minProperties"] = make.random.randint(0, 3)
    if make.maybe(0.25):
        schema["maxProperties"] = make.random.randint(0, 3)
    if make.maybe(0.2):
        schema["dependentRequired"] = {name: make.some(NAMES, 2) for name in make.some(NAMES, 2)}


def _dependent(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    schema["dependentSchemas"] = {name: make.inner(depth) for name in make.some(NAMES, 2)}


def _unevaluated_members(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    schema["unevaluatedProperties"] = False if make.maybe(0.6) else make.inner(depth)
    _members(make, schema, depth)
    schema.pop("additionalProperties", None)
    if make.maybe(0.7):
        _applicators(make, schema, depth)


def _items(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.4):
        schema["prefixItems"] = [make.inner(depth) for _ in range(make.random.randint(1, 2))]
    if make.maybe(0.5):
        schema["items"] = make.inner(depth)


def _item_counts(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.maybe(0.4):
        schema["minItems"] = make.random.randint(0, 3)
    if make.maybe(0.4):
        schema["maxItems"] = make.random.randint(0, 3)
    if make.maybe(0.3):
        schema["uniqueItems"] = True


def _contains(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    schema["contains"] = make.inner(depth)
    if make.maybe(0.4):
        schema["minContains"] = make.random.randint(0, 2)
    if make.maybe(0.4):
        schema["maxContains"] = make.random.randint(0, 2)


def _unevaluated_items(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    schema["unevaluatedItems"] = False if make.maybe(0.6) else make.inner(depth)
    if make.maybe(0.5):
        schema["prefixItems"] = [make.inner(depth)]
    if make.maybe(0.3):
        _contains(make, schema, depth)
    if make.maybe(0.7):
        _applicators(make, schema, depth)


def _applicators(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    keyword = make.random.choice(("allOf", "anyOf", "oneOf", "anyOf", "oneOf", "not", "if"))
    if keyword == "not":
        schema["not"] = make.inner(depth)
    elif keyword == "if":
        schema["if"] = make.inner(depth)
        for branch in ("then", "else"):
            if make.maybe(0.7):
                schema[branch] = make.inner(depth)
    else:
        schema[keyword] = [make.inner(depth) for _ in range(make.random.choice((1, 2, 2, 3)))]


def _reference(make: SchemaMaker, schema: dict[str, Any], depth: int) -> None:
    if make.is_dynamic and make.maybe(0.5):
        schema["$dynamicRef"] = "#node"
    elif make.num_defs:
        name = f"d{make.random.randrange(make.num_defs)}"
        schema["$ref"] = "inner" if make.is_dynamic and name == "d0" else f"#/$defs/{name}"


_GROUPS: dict[str, tuple[int, Group]] = {
    "type": (6, _type),
    "enum": (3, _enum),
    "number": (3, _number),
    "string": (3, _string),
    "members": (7, _members),
    "member counts": (4, _member_counts),
    "dependent": (2, _dependent),
    "unevaluated members": (2, _unevaluated_members),
    "items": (5, _items),
    "item counts": (4, _item_counts),
    "contains": (2, _contains),
    "unevaluated items": (2, _unevaluated_items),
    "applicators": (9, _applicators),
    "reference": (3, _reference),
}


def text(value: Any) -> str:
    """A value as natural JSON."""
    return json.dumps(value, ensure_ascii=False)
