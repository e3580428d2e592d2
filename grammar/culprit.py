"""Which subschema makes a schema unsatisfiable: the innermost that every value would have to satisfy and none can."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from espalier.grammar.compiler import Compiler
from espalier.grammar.dialect import escape
from espalier.grammar.errors import SchemaError
from espalier.grammar.formula import FALSE, Formula
from espalier.grammar.schema import Schema
from espalier.grammar.value import Json


def culprit(compiler: Compiler, is_empty: Callable[[Formula], bool]) -> str:
    """The JSON pointer of that subschema; "" is the root."""
    found, top, seen = "", compiler.root, set[str]()
    while isinstance(top.atom, Schema) and found not in seen:
        seen.add(found)
        inner = _inner(compiler, top.atom, found, is_empty)
        if inner is None:
            break
        found, top = inner
    return found


def _inner(
    compiler: Compiler, schema: Schema, path: str, is_empty: Callable[[Formula], bool]
) -> tuple[str, Formula] | None:
    """A subschema that has to hold, and that no value satisfies. `path` is where the schema stands."""
    data = schema.node.data
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("$ref"), str):
        try:
            target = compiler.follow(schema, "$ref", str(data["$ref"]))
        except SchemaError:
            return None
        if is_empty(target):
            return compiler.target_path(schema, str(data["$ref"])), target
    for pointer, inner in _forced(data):
        formula = compiler.child(schema, pointer, inner)
        if formula is FALSE or is_empty(formula):
            return path + pointer, formula
    return None


def _forced(data: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """The subschemas that a value, a required member or a required item has to satisfy."""
    branches = data.get("allOf")
    for index, inner in enumerate(branches if isinstance(branches, list) else ()):
        yield f"/allOf/{index}", inner
    properties, names = data.get("properties"), data.get("required")
    if isinstance(properties, dict) and isinstance(names, list):
        for name in names:
            if isinstance(name, str) and name in properties:
                yield f"/properties/{escape(name)}", properties[name]
    least = data.get("minItems")
    if isinstance(least, int) and least > 0 and isinstance(data.get("items"), dict | bool):
        yield "/items", data["items"]
    for keyword in ("anyOf", "oneOf"):
        arms = data.get(keyword)
        if isinstance(arms, list) and len(arms) == 1:
            yield f"/{keyword}/0", arms[0]
