"""A type as an agent builder writes it, and the one point where JSON becomes its values.

msgspec structs, dataclasses, TypedDict, named tuples, enums, literals, unions and builtins; pydantic models where
pydantic is installed. Strict: a
number in quotes is no number.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

import msgspec

from espalier.gateway.sdk.annotation import described
from espalier.gateway.sdk.errors import ShapeError
from espalier.gateway.sdk.schema import JsonObject, is_pydantic, schema_of

T = TypeVar("T")

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


class Shape(Generic[T]):
    """One type: its schema, and its values from JSON. Raises DefinitionError for a type without a schema."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = described(kind)
        self.schema: JsonObject = schema_of(kind)
        self.name = getattr(kind, "__name__", "answer")

    def decode(self, text: str | bytes) -> T:
        """The value that a JSON text stands for. Raises ShapeError."""
        return self.convert(parse(text))

    def convert(self, value: object) -> T:
        """The value that parsed JSON stands for. Raises ShapeError."""
        try:
            return cast(T, msgspec.convert(value, self._kind, strict=True, str_keys=True, dec_hook=_from_json))
        except msgspec.ValidationError as error:
            found = _PATH.search(str(error))
            raise ShapeError(_PATH.sub("", str(error)), found[1] if found else "") from None


def parse(text: str | bytes) -> object:
    """JSON as plain values; a number without a fraction is an int, however it is written. Raises ShapeError."""
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ShapeError(f"this is not valid JSON: {error}") from None


def _number(text: str) -> int | float:
    """JSON Schema's integers are numbers without a fraction: 1.0 and 1e2 are some (2020-12, Validation, 6.1.1)."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is out of range")
    return int(Decimal(text)) if value.is_integer() else value


_DECODER = msgspec.json.Decoder(float_hook=_number)


def encode(value: object) -> str:
    """A value as the model reads it: a text as it stands, all else as compact JSON. Raises ShapeError."""
    return value if isinstance(value, str) else encode_json(value)


def encode_json(value: object) -> str:
    """A value as compact JSON. Raises ShapeError."""
    try:
        return msgspec.json.encode(value, enc_hook=_to_json).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ShapeError(f"the {type(value).__name__} can't be told as JSON: {error}") from None


def _from_json(kind: type, value: object) -> object:
    if not is_pydantic(kind):
        raise NotImplementedError(f"no JSON stands for {kind.__name__}")
    try:
        return cast(Any, kind).model_validate(value)
    except ValueError as error:
        errors = cast(Any, error).errors() if hasattr(error, "errors") else []
        told = ["{}: {}".format(".".join(str(step) for step in one["loc"]), one["msg"]) for one in errors]
        raise ValueError("; ".join(told) or str(error)) from None


def _to_json(value: object) -> object:
    if is_pydantic(type(value)):
        return cast(object, cast(Any, value).model_dump(mode="json"))
    raise TypeError(f"no JSON stands for {type(value).__name__}")
