"""What a user says, and the calls that it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from tools import Tool
from values import Value


@dataclass(frozen=True, slots=True)
class Call:
    """A tool and its arguments, in the order of its schema."""

    tool: Tool
    arguments: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Ask:
    """A sentence, and the calls that it asks for."""

    sentence: str
    calls: tuple[Call, ...]
