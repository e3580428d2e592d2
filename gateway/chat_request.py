"""From a chat completion's request to the turn that it asks for. Pure."""

from __future__ import annotations

from typing import Any

from espalier.gateway.answer_request import asked_answer
from espalier.gateway.errors import invalid
from espalier.gateway.prompt_cache import PromptCache
from espalier.gateway.turn import Tool, ToolChoice, Turn, is_parallel
from espalier.gateway.wire import requests
from espalier.gateway.wire.requests import ChatRequest

_MODES = ("auto", "none", "required")


def chat_turn(request: ChatRequest) -> Turn:
    """The turn. Raises ApiError with the field at fault."""
    answer = asked_answer(request)
    tools = tuple(_tool(tool, f"tools[{at}].function.parameters") for at, tool in enumerate(request.tools or ()))
    return Turn(
        messages=request.messages,
        tools=tools,
        choice=_choice(request.tool_choice),
        parallel=is_parallel(request.parallel_tool_calls, is_named=_is_named(request.tool_choice)),
        answer=None if answer is None else answer.constraint,
        answer_where="response_format" if answer is None else answer.where,
    )


def prompt_cache_of(request: ChatRequest) -> PromptCache:
    """What it wishes of the cache."""
    return PromptCache(request.prompt_cache_key, request.prompt_cache_retention)


def _tool(tool: requests.Tool, where: str) -> Tool:
    function = tool.function
    told = Tool(function.name, description=function.description, strict=function.strict, where=where)
    if function.parameters is None:
        return told
    return Tool(function.name, function.parameters, function.description, function.strict, where)


def _choice(given: str | dict[str, Any] | None) -> ToolChoice:
    if given is None:
        return ToolChoice()
    if isinstance(given, str):
        return ToolChoice(_mode(given, "tool_choice"))
    kind = given.get("type")
    if kind == "function":
        return ToolChoice("required", frozenset({_name(given, "tool_choice")}))
    if kind == "allowed_tools":
        place = "tool_choice.allowed_tools"
        allowed = given.get("allowed_tools")
        tools = allowed.get("tools") if isinstance(allowed, dict) else None
        if not isinstance(allowed, dict) or not isinstance(tools, list):
            raise invalid(f"{place} is no object with mode and tools", place)
        names = frozenset(_name(tool, f"{place}.tools[{at}]") for at, tool in enumerate(tools))
        return ToolChoice(_mode(allowed.get("mode"), f"{place}.mode"), names)
    raise invalid(f"tool_choice.type is {kind!r:.100}; function and allowed_tools are built", "tool_choice.type")


def _is_named(given: str | dict[str, Any] | None) -> bool:
    return isinstance(given, dict) and given.get("type") == "function"


def _mode(given: object, where: str) -> Any:
    if given not in _MODES:
        raise invalid(f"{where} is {given!r:.100}; auto, none and required are known, or an object", where)
    return given


def _name(given: object, where: str) -> str:
    function = given.get("function") if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise invalid(f"{where}.function.name is missing or no text", f"{where}.function.name")
    return name
