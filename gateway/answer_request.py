"""What a request says of its answer's form, in each way that clients say it, as one constraint. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from espalier.gateway.errors import invalid
from espalier.gateway.turn import AnswerConstraint, any_object, json_answer
from espalier.gateway.wire.requests import Common, StructuredOutputs
from espalier.grammar import Choice, Regex

MOST_CHOICES = 10_000
# What each type of response_format has beside it; Together's and llama.cpp's clients give json_object a schema.
_FORMATS = {
    "text": frozenset({"type"}),
    "json_object": frozenset({"type", "schema"}),
    "json_schema": frozenset({"type", "json_schema"}),
}
_SCHEMA = frozenset({"name", "schema", "description", "strict"})


class AskedAnswer(NamedTuple):
    """A constraint and the field that asked for it."""

    where: str
    constraint: AnswerConstraint


def asked_answer(request: Common) -> AskedAnswer | None:
    """The form that a request asks for, None for free text. Raises ApiError for one that is none, and for two."""
    found = [answer for field, read in _FIELDS.items() if (answer := _read(field, getattr(request, field), read))]
    if len(found) > 1:
        raise invalid(f"{found[0].where} and {found[1].where} both say what the answer is; give one", found[1].where)
    return found[0] if found else None


def _read(field: str, value: Any, read: Callable[[Any, str], AskedAnswer | None]) -> AskedAnswer | None:
    return None if value is None else read(value, field)


def _response_format(given: dict[str, Any], where: str) -> AskedAnswer | None:
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _FORMATS:
        raise invalid(f"{where}.type is {kind!r:.100}; text, json_object and json_schema are built", f"{where}.type")
    _only(given, _FORMATS[kind], where)
    if kind == "text":
        return None
    if kind == "json_object":
        if given.get("schema") is None:
            return AskedAnswer(where, any_object())
        return AskedAnswer(f"{where}.schema", json_answer(given["schema"], f"{where}.schema"))
    inner = given.get("json_schema")
    place = f"{where}.json_schema"
    if not isinstance(inner, dict):
        raise invalid(f"{place} is no object with a name and a schema", place, "invalid_schema")
    _only(inner, _SCHEMA, place)
    if "schema" not in inner:
        raise invalid(f"{place}.schema is missing", f"{place}.schema", "invalid_schema")
    return AskedAnswer(f"{place}.schema", json_answer(inner["schema"], f"{place}.schema"))


def _only(given: dict[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse a member that would be ignored, but for a null."""
    if other := sorted(name for name, value in given.items() if name not in known and value is not None):
        place = f"{where}.{other[0][:64]}"
        raise invalid(f"{place} is not known; there are {', '.join(sorted(known))}", place, "unknown_parameter")


def _structured(given: StructuredOutputs, where: str) -> AskedAnswer | None:
    if given.grammar is not None:
        raise invalid(f"{where}.grammar is not supported: grammars in BNF are not built", f"{where}.grammar")
    kinds = {"json": _json, "regex": _regex, "choice": _choice}
    found = [answer for name, read in kinds.items() if (answer := _read(f"{where}.{name}", getattr(given, name), read))]
    if given.json_object:
        found.append(AskedAnswer(f"{where}.json_object", any_object()))
    if len(found) > 1:
        raise invalid(f"{where} holds {len(found)} forms of an answer; give one", where)
    return found[0] if found else None


def _json(given: Any, where: str) -> AskedAnswer:
    """A schema, or the text of one."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise invalid(f"{where} is a text that is no JSON", where, "invalid_schema") from None
    return AskedAnswer(where, json_answer(given, where))


def _regex(given: str, where: str) -> AskedAnswer:
    return AskedAnswer(where, Regex(given, part="answer"))


def _choice(given: list[str], where: str) -> AskedAnswer:
    if not given or len(given) > MOST_CHOICES:
        raise invalid(f"{where} has {len(given)} texts; 1 to {MOST_CHOICES} are needed", where, "invalid_schema")
    return AskedAnswer(where, Choice(tuple(text.encode() for text in given), part="answer"))


_FIELDS: dict[str, Callable[[Any, str], AskedAnswer | None]] = {
    "response_format": _response_format,
    "structured_outputs": _structured,
    "guided_json": _json,
    "guided_regex": _regex,
    "guided_choice": _choice,
    "regex": _regex,
}
