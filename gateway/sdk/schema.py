"""From a Python type to JSON Schema, as a model is to read it and a grammar to enforce it.

msgspec knows the types; here descriptions are added, objects are closed (what is not declared can't be generated),
titles that only repeat a class's name go, and pydantic's definitions are brought to the root.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from espalier.gateway.sdk.docstring import read
from espalier.gateway.sdk.errors import DefinitionError

JsonObject: TypeAlias = dict[str, object]

_REF = "#/$defs/{name}"
_MAPS = ("properties", "$defs", "patternProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_GENERICS = (list, dict, tuple, set, frozenset)
_SINGLES = ("items", "additionalProperties", "not")


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
    for kind_found in classes_of(kind):
        _describe_fields(root, kind_found)
    for part in _schemas(root):
        _tidy(part)
    return root


def described(kind: object) -> object:
    """The type with plain texts in `Annotated` made descriptions, at any depth of generics."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        text = description_in(notes)
        kept = [note for note in notes if isinstance(note, msgspec.Meta)]
        meta = [*kept, msgspec.Meta(description=text)] if text else kept
        return Annotated.__class_getitem__((described(inner), *meta)) if meta else described(inner)
    origin, parts = get_origin(kind), tuple(described(part) for part in get_args(kind))
    if origin in (Union, UnionType):
        return Union.__getitem__(parts)
    return origin[parts] if origin in _GENERICS else kind


def description_in(notes: list[object]) -> str | None:
    """What `Annotated` says for people: a text, or something that has one (pydantic's Field, typing's Doc)."""
    for note in notes:
        text = note if isinstance(note, str) else getattr(note, "description", getattr(note, "documentation", None))
        if isinstance(text, str) and text:
            return text
    return None


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


def _describe_fields(root: JsonObject, kind: type) -> None:
    texts = read(kind.__doc__).parameters
    for name, hint in _hints(kind).items():
        own = description_in(list(get_args(hint)[1:])) if get_origin(hint) is Annotated else None
        text = own or texts.get(name)
        for part in _schemas(root):
            fields = part.get("properties")
            if text and part.get("title") == kind.__name__ and isinstance(fields, dict) and name in fields:
                fields[name] = {"description": text, **fields[name]}


def _tidy(part: JsonObject) -> None:
    part.pop("title", None)
    if isinstance(text := part.get("description"), str):
        part["description"] = read(text).description
    if "properties" in part:
        part.setdefault("additionalProperties", False)
