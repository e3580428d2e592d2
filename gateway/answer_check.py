"""Structured answers validated again by an independent library, jsonschema: for debugging, behind `check_answers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from espalier.gateway.answer_text import Gathered
from espalier.gateway.errors import ApiError
from espalier.gateway.setting import SettingError
from espalier.gateway.turn import Tool, Turn
from espalier.grammar import Json


def require_library() -> None:
    """SettingError if the library is not installed."""
    try:
        import jsonschema  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise SettingError("check_answers needs the package jsonschema: pip install 'jsonschema>=4.23'") from None


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """What one turn's answers have to satisfy, as JSON Schemas: the text's, and by name the tools'."""

    answer: str | None
    tools: Mapping[str, Any]

    @classmethod
    def of(cls, turn: Turn, is_strict: Callable[[Tool], bool]) -> AnswerCheck:
        """What a turn asks for. Arguments of tools that are not strict are any object."""
        answer = str(turn.answer.schema) if isinstance(turn.answer, Json) else None
        tools = turn.callable_tools
        return cls(answer, {tool.name: tool.parameters if is_strict(tool) else {"type": "object"} for tool in tools})

    def check(self, found: Gathered) -> None:
        """ApiError if an answer is not what it has to be: then the grammar is wrong, and somebody wants to know."""
        if faults := list(self._faults(found)):
            message = f"the answer does not satisfy what was asked for, says jsonschema: {faults[0][:500]}"
            raise ApiError(500, message, code="answer_invalid", headers={"x-should-retry": "false"})

    def _faults(self, found: Gathered) -> Iterator[str]:
        for call in found.calls:
            schema = self.tools.get(call.name)
            yield from [f"no tool is named {call.name!r}"] if schema is None else _faults(schema, call.arguments)
        # A stop string may have cut the text; who asked for both gets that.
        is_whole = found.finished is not None and found.finished.stop_reason is None
        if self.answer is not None and not found.calls and is_whole:
            yield from _faults(json.loads(self.answer), found.text)


def _faults(schema: Any, text: str) -> Iterator[str]:
    import jsonschema
    from jsonschema.validators import extend, validator_for  # type: ignore[import-untyped]

    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    types = kind.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer})
    try:
        # Decimals, so that multipleOf is exact.
        value = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        yield f"no JSON: {error}"
        return
    exact = json.loads(json.dumps(schema), parse_float=Decimal)
    for fault in extend(kind, type_checker=types)(exact).iter_errors(value):
        yield f"{fault.message} at {fault.json_path}"


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_integer(checker: Any, value: Any) -> bool:
    return _is_number(checker, value) and value == int(value)
