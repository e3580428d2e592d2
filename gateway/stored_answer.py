"""An answer told again from its turn alone, where it was first told in another form: streamed, and now whole, or back.

What only the making of it knew (log-probabilities, what was cached) is not told again.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET

from espalier.gateway.response_input import replayed
from espalier.gateway.sse import event
from espalier.gateway.wire.answers import (
    AnsweredCall,
    AssistantMessage,
    CallDelta,
    CalledFunction,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
    Extras,
    FinishReason,
    FunctionDelta,
    PromptDetails,
    Usage,
)
from espalier.sessions import Turn


def completion_of(turn: Turn, model: str) -> ChatCompletion:
    """A complete turn as a whole chat completion."""
    said = replayed(turn.answer or {"role": "assistant"})
    calls = [
        AnsweredCall(call.id, CalledFunction(call.function.name, call.function.arguments))
        for call in said.tool_calls or ()
    ]
    text = cast(str, said.content or "")
    message = AssistantMessage(
        None if calls and not text else text,
        tool_calls=calls or UNSET,
        reasoning_content=said.reasoning_content or UNSET,
    )
    choice = ChatChoice(0, message, cast(FinishReason, turn.finish_reason or "stop"))
    told = len(turn.output_ids)
    usage = Usage(turn.prompt_len, told, turn.prompt_len + told, PromptDetails(0))
    extras = Extras(session_id=turn.session_id, turn_id=turn.id)
    name = turn.response_id or turn.id
    return ChatCompletion(name, int(turn.created_at), model, [choice], usage, espalier=extras)


def whole_of(turn: Turn, model: str) -> bytes:
    """A complete turn as the body of a whole answer."""
    return msgspec.json.encode(completion_of(turn, model))


def events_of(turn: Turn, model: str, *, include_usage: bool) -> tuple[bytes, ...]:
    """A complete turn as the events of a stream: all that was said, its end, and the usage if that is wanted."""
    whole = completion_of(turn, model)
    message, finish = whole.choices[0].message, whole.choices[0].finish_reason
    calls: list[CallDelta] | Any = UNSET
    if message.tool_calls is not UNSET:
        calls = [
            CallDelta(at, call.id, "function", FunctionDelta(call.function.name, call.function.arguments))
            for at, call in enumerate(message.tool_calls)
        ]
    content = UNSET if message.content is None else message.content
    delta = Delta("assistant", content, reasoning_content=message.reasoning_content, tool_calls=calls)
    told = [[ChunkChoice(0, delta)], [ChunkChoice(0, Delta(), finish)], *([[]] if include_usage else [])]
    return tuple(
        event(
            ChatChunk(
                whole.id,
                whole.created,
                whole.model,
                choices,
                usage=(whole.usage if not choices else None) if include_usage else UNSET,
                espalier=whole.espalier if choices else UNSET,
            )
        )
        for choices in told
    )
