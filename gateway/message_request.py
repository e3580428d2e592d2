"""From a request of the Messages API to the turn it asks for, and how it is drawn. Pure."""

from __future__ import annotations

from typing import Any

from espalier.gateway import turn
from espalier.gateway.errors import invalid
from espalier.gateway.message_input import messages_from
from espalier.gateway.turn import Turn
from espalier.gateway.wire import messages as wire
from espalier.gateway.wire.body import convert
from espalier.gateway.wire.messages import CountRequest, MessagesRequest
from espalier.gateway.wire.requests import ChatRequest

# Hints to other servers' caches, loaders and streams.
_IGNORED = frozenset({"cache_control", "eager_input_streaming"})
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
    "input_examples": ([],),
}


def turn_of(request: CountRequest) -> Turn:
    """The turn that `request` asks for. Raises ApiError."""
    chosen = request.tool_choice
    format = request.output_config.format
    return Turn(
        messages_from(request.system, request.messages),
        tuple(_tool(tool, f"tools[{at}]") for at, tool in enumerate(request.tools)),
        _choice(chosen),
        isinstance(chosen, wire.ChoiceNone) or not chosen.disable_parallel_tool_use,
        None if format is None else turn.json_answer(format.schema, "output_config.format.schema"),
        "output_config.format.schema",
    )


def chat_of(request: MessagesRequest) -> ChatRequest:
    """How the answer is to be drawn, in the words of chat completions; there every range is checked."""
    return ChatRequest(
        messages=[],
        max_completion_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        stop=request.stop_sequences,
    )


def _tool(given: dict[str, Any], where: str) -> turn.Tool:
    if (kind := given.get("type") or "custom") != "custom":
        raise invalid(f"{where} is of type {str(kind)[:64]!r}; this server has tools of type 'custom'", f"{where}.type")
    fields = {
        name: value
        for name, value in given.items()
        if value is not None and name not in _IGNORED and value not in _NEUTRAL.get(name, ())
    }
    tool = convert(fields, wire.CustomTool, within=where)
    return turn.Tool(tool.name, tool.input_schema, tool.description, tool.strict, f"{where}.input_schema")


def _choice(choice: wire.Choice) -> turn.ToolChoice:
    match choice:
        case wire.ChoiceNone():
            return turn.ToolChoice("none")
        case wire.ChoiceAny():
            return turn.ToolChoice("required")
        case wire.ChoiceTool():
            return turn.ToolChoice("required", frozenset({choice.name}))
        case _:
            return turn.ToolChoice()
