"""One turn of a conversation, whatever API asked for it: what was said, which tools there are, what the answer may be.

Pure values. An API reads its own wire into a `Turn`; what becomes of it is in `turn_constraint` and `service`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from espalier.gateway.errors import invalid
from espalier.gateway.wire.requests import Message
from espalier.grammar import AnyJson, Choice, GrammarError, Json, Regex

MAX_TOOLS = 512
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")

AnswerConstraint: TypeAlias = Json | AnyJson | Regex | Choice


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `where` is the path of its schema in the request, for errors."""

    name: str
    parameters: dict[str, Any] = field(default_factory=_no_parameters)
    description: str | None = None
    strict: bool | None = None
    where: str = "tools"

    def told(self) -> dict[str, Any]:
        """As chat templates read it."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        return {"type": "function", "function": {**function, "parameters": self.parameters}}


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether a call may come (auto), must (required), or none; `names` are the tools that may be called, None all."""

    mode: Literal["auto", "none", "required"] = "auto"
    names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model is asked. `answer` is what its text has to be; beside tools, an answer is calls or such a text.

    `parallel` False allows one call at most. `answer_where` is the field that `answer` came from, for errors.
    `truncates` says whether messages that are longer than the context lose the oldest (None: as the server does).
    """

    messages: Sequence[Message]
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    parallel: bool = True
    answer: AnswerConstraint | None = None
    answer_where: str = "response_format"
    truncates: bool | None = None

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools that this turn's answer may call."""
        if self.choice.mode == "none":
            return ()
        names = self.choice.names
        return self.tools if names is None else tuple(tool for tool in self.tools if tool.name in names)


def is_parallel(said: bool | None, *, is_named: bool) -> bool:
    """Whether several calls may come: as is said, else unless a function is named, which OpenAI calls exactly once."""
    return not is_named if said is None else said


def check_turn(turn: Turn) -> None:
    """Refuse tools without a proper name, two of one name, and choices of tools that are not there."""
    if len(turn.tools) > MAX_TOOLS:
        raise invalid(f"tools has {len(turn.tools)} entries; at most {MAX_TOOLS} are read", "tools")
    seen: set[str] = set()
    for at, tool in enumerate(turn.tools):
        if not _NAME.fullmatch(tool.name):
            wanted = "1 to 128 letters, digits, '_', '-' or '.'"
            raise invalid(f"tools[{at}] is named {tool.name[:64]!r}; a name has {wanted}", f"tools[{at}]")
        if tool.name in seen:
            raise invalid(f"tools[{at}]: there are two tools named {tool.name!r}", f"tools[{at}]")
        seen.add(tool.name)
    unknown = sorted((turn.choice.names or frozenset()) - seen)
    if unknown:
        raise invalid(f"tool_choice names {unknown[0][:64]!r}, which is not among the tools", "tool_choice")
    if turn.choice.mode == "required" and not turn.callable_tools:
        raise invalid("tool_choice asks for a call, and there are no tools", "tool_choice")


def json_answer(schema: object, where: str = "response_format") -> Json:
    """An answer of a JSON Schema, spelled as Python's json does: so do the texts that models learn from."""
    if not isinstance(schema, dict | bool):
        kind = "null" if schema is None else type(schema).__name__
        raise invalid(f"{where} is a {kind}; a JSON Schema is an object, true or false", where, "invalid_schema")
    return json_constraint(schema, where, part="answer")


def json_constraint(
    schema: dict[str, Any] | bool,
    where: str,
    *,
    part: str,
    words: Literal["json", "python"] = "json",
    documents: dict[str, str | bool | dict[str, object]] | None = None,
) -> Json:
    """A schema as a constraint: formats that are known are kept, but where the schema contradicts them.

    ApiError if it is nested too deeply to be written.
    """
    try:
        return Json(
            schema, white_space="spaced", words=words, documents=documents or (), assert_formats=True,
            formats_can_yield=True, part=part,
        )  # fmt: skip
    except GrammarError as error:
        raise invalid(f"{where}: {error}", where, "schema_too_large") from None


def any_object() -> Json:
    """An answer that is any JSON object."""
    return json_answer({"type": "object"})
