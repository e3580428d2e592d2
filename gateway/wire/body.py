"""From a body's bytes to a checked struct: strict JSON, then strict types, each refusal naming where it is."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec

from espalier.gateway.errors import ApiError, invalid

T = TypeVar("T")

_PATH = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`$")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise invalid(f"the key {name[:64]!r} appears twice in one object", name[:64])
    return found


def _constant(name: str) -> NoReturn:
    raise invalid(f"{name} is not JSON")


def parse(body: bytes) -> dict[str, Any]:
    """An object from strict JSON: no duplicate keys, no NaN, no lone surrogates. Raises ApiError."""
    try:
        # json.loads would guess the encoding and let encoded surrogates through.
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise invalid("the body is not valid UTF-8") from None
    except UnicodeEncodeError:
        raise invalid("the body holds a lone surrogate (\\ud800 to \\udfff), which is no character") from None
    except RecursionError:
        raise invalid("the body is nested too deeply") from None
    except ApiError:
        raise
    except ValueError:
        raise invalid("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid(f"the body is a JSON {type(value).__name__}, an object is needed")
    return value


def convert(value: Any, kind: type[T], *, within: str = "") -> T:
    """`value` as a struct. Raises ApiError with the path of what does not fit."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _PATH.search(text)
        path = ".".join(part for part in (within, found[1] if found else "") if part)
        message = _PATH.sub("", text)
        if not path and (field := _FIELD.match(message)):  # of the body itself, which has no path
            raise invalid(message, field[1]) from None
        where = path.replace(".[", "[") or None
        raise invalid(f"{where}: {message}" if where else message, where) from None


def without_nulls(value: Any) -> Any:
    """`value` without the members of objects that are null: clients write them for what they leave out.

    A schema's own nulls stay.
    """
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: one if name == "schema" else without_nulls(one)
        for name, one in value.items()
        if one is not None or name == "schema"
    }
