"""What stands beside a type in `Annotated`: texts for people and models, and bounds, in whoever's words.

msgspec reads its own `Meta` alone. Bounds of pydantic's `Field` and of annotated-types are told to it in its words;
neither package is imported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence, Set
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NotRequired, Required, Union, get_args, get_origin

import msgspec

from espalier.gateway.sdk.errors import DefinitionError

ARRAYS = (list, tuple, set, frozenset, Collection, Sequence, MutableSequence, Set, MutableSet)
OBJECTS = (dict, Mapping, MutableMapping)
_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def described(kind: object) -> object:
    """The type with plain texts in `Annotated` made descriptions and all bounds msgspec's, at any depth of generics.

    Raises DefinitionError for bounds that msgspec does not know.
    """
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        metas = [note for note in notes if isinstance(note, msgspec.Meta)]
        inner = _bounded(described(inner), [meta for note in notes if (meta := _meta(note)) is not None])
        if text := description_in(notes):
            metas.append(msgspec.Meta(description=text))
        return Annotated.__class_getitem__((inner, *metas)) if metas else inner
    origin, parts = get_origin(kind), tuple(described(part) for part in get_args(kind))
    if origin in (Union, UnionType):
        return Union.__getitem__(parts)
    return origin[parts] if origin in (*ARRAYS, *OBJECTS) else kind


def description_in(notes: list[object]) -> str | None:
    """What `Annotated` says for people: a text, or something that has one (pydantic's Field, typing's Doc)."""
    for note in notes:
        text = note if isinstance(note, str) else getattr(note, "description", getattr(note, "documentation", None))
        if isinstance(text, str) and text:
            return text
    return None


def bare(hint: Any) -> tuple[object, list[object]]:
    """A type without what stands around it, and what `Annotated` says of it."""
    notes: list[object] = []
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *more = get_args(hint)
            notes += more
        elif origin in (Required, NotRequired, Final):
            (hint,) = get_args(hint)
        elif not isinstance(hint, type) and (of := getattr(hint, "__supertype__", None)) is not None:
            hint = of  # a NewType
        else:
            return hint, notes


def foreign_bounds(hint: object) -> Iterator[object]:
    """What bounds a type, at any depth, in words that msgspec does not read."""
    kind, notes = bare(hint)
    yield from (note for note in notes if not isinstance(note, msgspec.Meta) and _bounds(note))
    for part in get_args(kind):
        yield from foreign_bounds(part)


def _bounded(kind: Any, bounds: list[msgspec.Meta]) -> Any:
    """The type within bounds; those of a union are those of its types, but for None."""
    if not bounds:
        return kind
    if get_origin(kind) in (Union, UnionType):
        parts = [part if part is NoneType else _bounded(part, bounds) for part in get_args(kind)]
        return Union.__getitem__(tuple(parts))
    return Annotated.__class_getitem__((kind, *bounds))  # type: ignore[attr-defined]


def _meta(note: object) -> msgspec.Meta | None:
    """Bounds in others' words, in msgspec's."""
    bounds = {} if isinstance(note, msgspec.Meta) else _bounds(note)
    try:
        return msgspec.Meta(**bounds) if bounds else None
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{note!r} can't be told as JSON Schema: {error}") from None


def _bounds(note: object) -> dict[str, Any]:
    """What annotated-types' classes say, and pydantic's Field, which holds several of those."""
    held = getattr(note, "metadata", None)
    parts = () if isinstance(note, str) else (note, *(held if isinstance(held, (list, tuple)) else ()))
    found = {name: value for part in parts for name in _BOUNDS if (value := getattr(part, name, None)) is not None}
    if isinstance(pattern := found.get("pattern"), re.Pattern):
        found["pattern"] = pattern.pattern
    return found
