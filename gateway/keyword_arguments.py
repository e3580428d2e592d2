"""Arguments as Python's keyword arguments, `a=1, b="x"`: what of JSON Schema can be kept when they are written so.

Each argument is a Python literal that satisfies its own schema. What ties arguments together (`anyOf`, `if`,
`dependentRequired`, ... beside `properties`) can't be kept by reading one after the other, and is refused by name.
"""

from __future__ import annotations

import keyword

from espalier.gateway.errors import invalid
from espalier.gateway.turn import Tool, json_constraint
from espalier.grammar import AnyConstraint, Literal, OneOf, Sequence

_DOCUMENT = "urn:espalier:parameters"
_KEPT = frozenset(
    "type properties required additionalProperties title description default examples $schema $id $defs definitions "
    "$comment deprecated readOnly writeOnly".split()
)


def keyword_arguments(schema: dict[str, object], tool: Tool, *, is_free: bool = False) -> AnyConstraint:
    """The arguments between the parentheses, those that are required first. Raises ApiError for what can't be kept.

    `is_free`: any of the arguments that the schema knows, with any value.
    """
    known, needed = _known(schema, tool), _needed(schema, tool)
    if is_free:
        schema, needed = {"properties": dict.fromkeys(known, True)}, []
    if other := sorted(schema.keys() - _KEPT):
        raise _refused(tool, f"{other[0]!r} beside its properties can't be kept")
    if missing := [name for name in needed if name not in known]:
        raise _refused(tool, f"{missing[0]!r} is required and has no schema")
    if unfit := [name for name in known if not name.isidentifier() or keyword.iskeyword(name)]:
        raise _refused(tool, f"{unfit[0][:64]!r} is no name of an argument in Python")
    arguments = {name: _argument(schema, name, tool) for name in known}
    first = [arguments[name] for name in known if name in needed]
    further = [arguments[name] for name in known if name not in needed]
    return _in_a_row(first, further)


def _known(schema: dict[str, object], tool: Tool) -> dict[str, object]:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise _invalid(tool, f"properties has to be an object, not {properties!r:.100}")
    return properties


def _needed(schema: dict[str, object], tool: Tool) -> list[str]:
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _invalid(tool, f"required has to be a list of strings, not {required!r:.100}")
    return required


def _in_a_row(required: list[AnyConstraint], optional: list[AnyConstraint]) -> AnyConstraint:
    comma = Literal(b", ")
    rest = [OneOf((Sequence(()), Sequence((comma, one)))) for one in optional]
    if required:
        further = [Sequence((comma, one)) for one in required[1:]]
        return Sequence((required[0], *further, *rest))
    starts = [Sequence((one, *rest[at + 1 :])) for at, one in enumerate(optional)]
    return OneOf((Sequence(()), *starts))


def _argument(schema: dict[str, object], name: str, tool: Tool) -> AnyConstraint:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    own = properties[name]
    value = json_constraint(own, tool.where, part="value", words="python")
    # What it refers to, and which draft it is of, stands in the schema that it is a part of.
    if "$schema" in schema or '"$ref"' in str(value.schema) or '"$dynamicRef"' in str(value.schema):
        place = {"$ref": f"{_DOCUMENT}#/properties/{name}"}
        value = json_constraint(place, tool.where, part="value", words="python", documents={_DOCUMENT: schema})
    return Sequence((Literal(name.encode(), part="key"), Literal(b"="), value))


def _refused(tool: Tool, why: str) -> Exception:
    return _invalid(tool, f"this model writes calls as Python does, where {why}")


def _invalid(tool: Tool, why: str) -> Exception:
    return invalid(f"{tool.where}: {why}", tool.where, "invalid_schema")
