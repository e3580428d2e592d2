"""Typed access to the fields of config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espalier.engine.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Typed access to an object of config.json; null counts as absent. Raises CheckpointError naming the field."""

    fields: Mapping[str, Any]

    def integer(self, name: str, default: int | None = None, *, low: int = 1) -> int:
        """An integer of at least `low`; an error without a default if it is absent."""
        value = self.fields.get(name)
        value = default if value is None else value
        if value is None:
            raise CheckpointError(f"config.json has no field {name!r}")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            raise CheckpointError(f"config.json: {name} = {value!r}; an integer of at least {low} is needed")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number above 0."""
        value = self.fields.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise CheckpointError(f"config.json: {name} = {value!r}; a number above 0 is needed")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.fields.get(name)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise CheckpointError(f"config.json: {name} = {value!r}; true or false is needed")
        return value

    def items(self, name: str) -> list[Any]:
        """A list, empty if it is absent."""
        value = self.fields.get(name) or []
        if not isinstance(value, list):
            raise CheckpointError(f"config.json: {name} = {value!r}; a list is needed")
        return value
