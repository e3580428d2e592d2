"""From a Python type to JSON Schema, as a model is to read it and a grammar to enforce it.

msgspec knows the types; here descriptions are added, what texts and names have to look like (so that what a grammar
allows is a value), objects are closed (what is not declared can't be generated), titles that only repeat a class's name
go, and pydantic's definitions are brought to the root.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator
from types import UnionType
from typing import TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from espalier.gateway.sdk.annotation import ARRAYS, OBJECTS, bare, described, description_in, foreign_bounds
from espalier.gateway.sdk.docstring import read
from espalier.gateway.sdk.errors import DefinitionError
from espalier.gateway.sdk.text_pattern import INTEGER, PATTERNS, moment

JsonObject: TypeAlias = dict[str, object]

_REF = "#/$defs/{name}"
_MAPS = ("properties", "$defs", "patternProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "not")
_MOMENTS = (datetime.datetime, datetime.time)
# Which of a union's schemas is a type's: no two of them are of one JSON type.
_JSON_TYPES: dict[object, str] = {
    **dict.fromkeys(ARRAYS, "array"),
    **dict.fromkeys(OBJECTS, "object"),
    **dict.fromkeys((str, *_MOMENTS), "string"),
    int: "integer",
    float: "number",
    bool: "boolean",
}


def schema_of(kind: object) -> JsonObject:
    """The schema of a type. Raises DefinitionError for a type that has none."""
    try:
        (schema,), definitions = msgspec.json.schema_components(
            [described(kind)], schema_hook=_of_pydantic, ref_template=_REF
        )
    except (TypeError, NotImplementedError) as error:
        raise DefinitionError(f"{_named(kind)} can't be told as JSON Schema: {str(error).splitlines()[-1]}") from None
    root = _inlined(cast(JsonObject, schema), cast(JsonObject, definitions))
    _hoist(root)
    _refine(root, described(kind))
    for kind_found in classes_of(kind):
        _refine_fields(root, kind_found)
    for part in _schemas(root):
        _tidy(part)
    return root


def classes_of(kind: object, seen: set[object] | None = None) -> Iterator[type]:
    """Every class with named fields that a type is made of, each once."""
    seen = set() if seen is None else seen
    for part in get_args(kind):
        yield from classes_of(part, seen)
    if not isinstance(kind, type) or kind in seen or not _has_fields(kind):
        return
    seen.add(kind)
    yield kind
    for hint in _hints(kind).values():
        yield from classes_of(hint, seen)


def is_pydantic(kind: object) -> bool:
    """Whether a type is a pydantic model, without importing pydantic."""
    return isinstance(kind, type) and all(callable(getattr(kind, name, None)) for name in _PYDANTIC)


_PYDANTIC = ("model_json_schema", "model_validate", "model_dump")


def _of_pydantic(kind: type) -> JsonObject:
    if not is_pydantic(kind):
        raise NotImplementedError("no JSON stands for it")
    make: Callable[..., JsonObject] = kind.model_json_schema  # type: ignore[attr-defined]
    schema = make(ref_template=f"#/$defs/{kind.__name__}.{{model}}")
    definitions = cast(JsonObject, schema.pop("$defs", {}))
    renamed = {f"{kind.__name__}.{name}": one for name, one in definitions.items()}
    own = schema.pop("$ref", None)
    if isinstance(own, str):  # a model that contains itself stands among its own definitions
        schema["allOf"] = [{"$ref": own}]
    return {**schema, "$defs": renamed} if renamed else schema


def _has_fields(kind: type) -> bool:
    is_typed_dict = issubclass(kind, dict) and hasattr(kind, "__required_keys__")
    is_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct) or is_typed_dict or is_tuple


def _hints(kind: type) -> dict[str, object]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:  # a forward reference that only msgspec, or nobody, resolves: no texts then
        return {}


def _named(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _inlined(schema: JsonObject, definitions: JsonObject) -> JsonObject:
    """The root itself where it is only a reference that nothing else uses."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and not any(
        part is not schema and part.get("$ref") == schema["$ref"]
        for one in definitions.values()
        for part in _schemas(cast(JsonObject, one))
    ):
        schema = cast(JsonObject, definitions.pop(name))
    return {**schema, "$defs": definitions} if definitions else dict(schema)


def _schemas(schema: JsonObject) -> Iterator[JsonObject]:
    """A schema and all those in it, but not what only looks like one (a property named `properties`)."""
    yield schema
    maps = [child for name in _MAPS if isinstance(found := schema.get(name), dict) for child in found.values()]
    lists = [child for name in _LISTS if isinstance(found := schema.get(name), list) for child in found]
    for child in [*maps, *lists, *(schema.get(name) for name in _SINGLES)]:
        if isinstance(child, dict):
            yield from _schemas(child)


def _hoist(root: JsonObject) -> None:
    hoisted: JsonObject = {}
    for part in list(_schemas(root)):
        if part is not root and isinstance(found := part.pop("$defs", None), dict):
            hoisted |= found
    if hoisted:
        root["$defs"] = {**cast(JsonObject, root.get("$defs", {})), **hoisted}


def _refine_fields(root: JsonObject, kind: type) -> None:
    texts = read(kind.__doc__).parameters
    hints = _hints(kind)
    for name, hint in hints.items():
        if (bound := next(foreign_bounds(hint), None)) is not None:
            raise DefinitionError(f"{kind.__name__}.{name}: {bound!r} holds in a pydantic model only; use msgspec.Meta")
    names = [getattr(kind, found, ()) for found in ("__struct_fields__", "__struct_encode_fields__")]
    told = dict(zip(*names, strict=True))
    for part in [part for part in _schemas(root) if part.get("title") == kind.__name__]:
        places = dict(zip(hints, _places(part), strict=False)) if issubclass(kind, tuple) else {}
        fields = cast(JsonObject, part.get("properties", places))
        for name, hint in hints.items():
            if isinstance(field := fields.get(told.get(name, name)), dict):
                _refine(field, hint)
                _describe(field, texts.get(name))


def _places(part: JsonObject) -> list[object]:
    return cast(list[object], part.get("prefixItems", []))


def _refine(part: JsonObject, hint: object) -> None:
    """Add to a type's schema what msgspec leaves out."""
    kind, notes = bare(hint)
    _describe(part, description_in(notes))
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        for option in cast(list[JsonObject], part.get("anyOf") or [part]):
            for one in parts:
                if option.get("type") == _JSON_TYPES.get(_origin(one), ""):
                    _refine(option, one)
    elif kind in _MOMENTS:
        part |= moment(kind, next((note.tz for note in notes if isinstance(note, msgspec.Meta)), None))
    elif origin in ARRAYS:
        items = part.get("items")
        for below, one in zip([items] if isinstance(items, dict) else _places(part), parts, strict=False):
            _refine(cast(JsonObject, below), one)
    elif origin in OBJECTS and len(parts) == 2:
        if isinstance(values := part.get("additionalProperties"), dict):
            _refine(values, parts[1])
        if bare(parts[0])[0] is not str:
            part["propertyNames"] = _as_name(schema_of(parts[0]))


def _origin(hint: object) -> object:
    kind, _ = bare(hint)
    return get_origin(kind) or kind


def _as_name(schema: JsonObject) -> JsonObject:
    """The schema of a key, whose values are texts in JSON."""
    if "enum" in schema:
        return {"enum": [str(value) for value in cast(list[object], schema["enum"])]}
    return {"pattern": INTEGER} if schema.get("type") == "integer" else schema


def _describe(part: JsonObject, text: str | None) -> None:
    if text and "description" not in part:
        rest = dict(part)
        part.clear()
        part |= {"description": text, **rest}


def _tidy(part: JsonObject) -> None:
    part.pop("title", None)
    if isinstance(text := part.get("description"), str):
        part["description"] = read(text).description
    if "properties" in part:
        part.setdefault("additionalProperties", False)
    form = part.get("format") or part.get("contentEncoding")
    if part.get("type") == "string" and form in PATTERNS:
        part.setdefault("pattern", PATTERNS[str(form)])
