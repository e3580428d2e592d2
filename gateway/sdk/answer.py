"""The type of a run's answer: text, a Python type, or a JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from espalier.gateway.sdk.model import AnswerFormat
from espalier.gateway.sdk.shape import Shape, parse

A = TypeVar("A")

MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class AnswerShape(Generic[A]):
    """How the model has to answer (None: in words), and how its text becomes the answer."""

    format: AnswerFormat | None
    decode: Callable[[str], A]


def answer_shape(kind: type[A] | Mapping[str, object] | None) -> AnswerShape[A]:
    """The shape of a type, of a schema (the answer is parsed JSON), or of words. Raises DefinitionError."""
    if kind is None or kind is str:
        return AnswerShape(None, lambda text: cast(A, text))
    if isinstance(kind, Mapping):
        return AnswerShape(AnswerFormat("answer", dict(kind)), lambda text: cast(A, parse(text)))
    shape = Shape(kind)
    return AnswerShape(AnswerFormat(_name(shape.name), shape.schema), shape.decode)


def _name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:MAX_NAME_CHARS]
