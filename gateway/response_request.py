"""From a request of the Responses API to its turn, how it is drawn, and the response before its answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from espalier.engine.errors import RequestError
from espalier.engine.messages import SamplingParams
from espalier.gateway import turn
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.response_input import messages_from
from espalier.gateway.turn import AnswerConstraint, Turn
from espalier.gateway.wire.body import convert
from espalier.gateway.wire.items import Item
from espalier.gateway.wire.requests import ChatRequest, Message
from espalier.gateway.wire.responses import (
    AllowedTools,
    ConversationName,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Response,
    ResponsesRequest,
    TextOptions,
    ToolChoice,
    Truncation,
)

E = TypeVar("E", ApiError, RequestError)
LOGPROBS = "message.output_text.logprobs"
# What is checked in the words of chat completions.
_FIELDS = {"messages": "input", "max_tokens": "max_output_tokens"}
# Hints to other servers' caches and loaders.
_IGNORED = frozenset({"cache_control"})


def turn_of(
    request: ResponsesRequest, tools: Sequence[FunctionTool], history: Sequence[Message], items: Sequence[Item]
) -> Turn:
    """The turn that `request` asks for; `items` are its input. Instructions are of this turn only. Raises ApiError."""
    told = [Message("system", request.instructions)] if request.instructions else []
    messages = [*told, *history, *messages_from(items)]
    if not history and not items:
        raise invalid("input is empty; at least one item is needed", "input")
    return Turn(
        messages,
        tuple(_tool(tool, at) for at, tool in enumerate(tools)),
        _choice(request.tool_choice),
        _is_parallel(request),
        _answer(request.text),
        "text.format.schema",
        None if request.truncation is None else request.truncation == "auto",
    )


def tools_of(request: ResponsesRequest) -> list[FunctionTool]:
    """The request's tools. Raises ApiError for those that are no functions."""
    return [_function(tool, f"tools[{at}]") for at, tool in enumerate(request.tools)]


def chat_of(request: ResponsesRequest) -> ChatRequest:
    """How the answer is to be drawn, in the words of chat completions; there every range is checked."""
    wanted = LOGPROBS in request.include or request.top_logprobs > 0
    return ChatRequest(
        messages=[],
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        min_p=request.min_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repetition_penalty=request.repetition_penalty,
        seed=request.seed,
        stop=request.stop,
        ignore_eos=request.ignore_eos,
        min_tokens=request.min_tokens,
        logit_bias=request.logit_bias,
        max_completion_tokens=request.max_output_tokens,
        logprobs=wanted,
        top_logprobs=request.top_logprobs if wanted else None,
    )


def in_own_words(error: E) -> E:
    """The error with the field's own name."""
    error.param = _FIELDS.get(error.param or "", error.param)
    return error


def conversation_of(request: ResponsesRequest) -> str | None:
    """The id of the conversation that the request names. Raises ApiError where it names a previous response, too."""
    named = request.conversation
    name = named.id if isinstance(named, ConversationName) else named
    if name is not None and request.previous_response_id is not None:
        raise invalid("give either conversation or previous_response_id, not both", "previous_response_id")
    return name


def begun(
    request: ResponsesRequest,
    tools: Sequence[FunctionTool],
    params: SamplingParams,
    *,
    response_id: str,
    model: str,
    created_at: int,
    truncation: Truncation,
) -> Response:
    """The response before its answer: what was asked is echoed, with the values that are used.

    `truncation` is the server's own.
    """
    name, retention = conversation_of(request), request.prompt_cache_retention
    return Response(
        id=response_id,
        created_at=created_at,
        status="queued" if request.background else "in_progress",
        background=request.background,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        model=model,
        parallel_tool_calls=_is_parallel(request),
        previous_response_id=request.previous_response_id,
        conversation=None if name is None else ConversationName(name),
        reasoning=request.reasoning,
        store=bool(request.store),
        temperature=params.temperature,
        top_p=params.top_p,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        top_logprobs=request.top_logprobs,
        text=request.text,
        tool_choice=request.tool_choice,
        tools=list(tools),
        truncation=request.truncation or truncation,
        metadata=request.metadata,
        prompt_cache_key=request.prompt_cache_key,
        prompt_cache_retention="in_memory" if retention == "in-memory" else retention,
        safety_identifier=request.safety_identifier,
        user=request.user,
    )


def _function(tool: dict[str, Any], where: str) -> FunctionTool:
    fields = {name: value for name, value in tool.items() if value is not None and name not in _IGNORED}
    if (kind := fields.get("type", "function")) != "function":
        raise invalid(
            f"{where} is of type {str(kind)[:64]!r}; this server has tools of type 'function'", f"{where}.type"
        )
    return convert({**fields, "type": "function"}, FunctionTool, within=where)


def _tool(tool: FunctionTool, at: int) -> turn.Tool:
    where = f"tools[{at}].parameters"
    if tool.parameters is None:
        return turn.Tool(tool.name, description=tool.description, strict=tool.strict, where=where)
    return turn.Tool(tool.name, tool.parameters, tool.description, tool.strict, where)


def _is_parallel(request: ResponsesRequest) -> bool:
    return turn.is_parallel(request.parallel_tool_calls, is_named=isinstance(request.tool_choice, NamedTool))


def _choice(choice: ToolChoice) -> turn.ToolChoice:
    match choice:
        case NamedTool():
            return turn.ToolChoice("required", frozenset({choice.name}))
        case AllowedTools():
            return turn.ToolChoice(choice.mode, frozenset(tool.name for tool in choice.tools))
        case _:
            return turn.ToolChoice(choice)


def _answer(text: TextOptions) -> AnswerConstraint | None:
    match text.format:
        case JsonSchemaFormat():
            return turn.json_answer(text.format.schema, "text.format.schema")
        case JsonObjectFormat():
            return turn.any_object()
        case _:
            return None
