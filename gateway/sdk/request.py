"""A query as the body of a chat completion. The same query gives the same bytes, so that a repeated key finds its
answer.
"""

from __future__ import annotations

import msgspec

from espalier.gateway.sdk.model import AnswerFormat, Query, Settings
from espalier.gateway.sdk.schema import JsonObject
from espalier.gateway.sdk.tool import ToolSpec

MODES = ("auto", "none", "required")


def body_of(query: Query) -> JsonObject:
    """The body of POST /v1/chat/completions."""
    settings = query.settings
    fields: JsonObject = {
        "model": settings.model,
        "messages": msgspec.to_builtins(query.messages),
        "tools": [_tool(spec) for spec in query.tools] or None,
        "response_format": _format(query.answer) if query.answer else None,
        "session_id": query.session_id,
        "session_mode": "append" if query.session_id else None,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(settings),
    }
    if query.tools:
        fields |= {"tool_choice": _choice(query), "parallel_tool_calls": settings.parallel_tool_calls}
    return {name: value for name, value in fields.items() if value is not None}


def _choice(query: Query) -> object:
    choice = query.settings.tool_choice
    if choice is None or choice in MODES:
        return choice
    return {"type": "function", "function": {"name": choice}}


def _sampling(settings: Settings) -> JsonObject:
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_completion_tokens": settings.max_tokens,
        "seed": settings.seed,
    }


def _tool(spec: ToolSpec) -> JsonObject:
    function: JsonObject = {"name": spec.name, "parameters": dict(spec.parameters)}
    if spec.description:
        function["description"] = spec.description
    return {"type": "function", "function": function}


def _format(answer: AnswerFormat) -> JsonObject:
    return {"type": "json_schema", "json_schema": {"name": answer.name, "schema": answer.schema, "strict": True}}
