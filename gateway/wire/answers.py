"""Answers of chat completions and completions, whole and as chunks. Field order is the order on the wire.

A chunk leaves a field out where its class says UNSET, and says null where it says None: clients tell the two apart.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

FinishReason = Literal["stop", "length", "tool_calls"]


class PromptDetails(Struct, frozen=True):
    """Of the prompt's tokens, those found in the prefix tree, and those that this request added to it."""

    cached_tokens: int
    audio_tokens: int = 0
    cache_write_tokens: int = 0


class CompletionDetails(Struct, frozen=True):
    """Of the answer's tokens."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(Struct, frozen=True):
    """Tokens of a request, all its choices together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails = CompletionDetails()


class TopLogprob(Struct, frozen=True):
    """One token, its natural log-probability, its bytes."""

    token: str
    logprob: float
    bytes: list[int]


def finite(logprob: float) -> float:
    """JSON has no infinities: OpenAI writes -9999.0 for tokens that can't be."""
    return logprob if math.isfinite(logprob) else -9999.0


class ContentLogprob(TopLogprob, frozen=True):
    """The token that was drawn, and the best alternatives."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, frozen=True):
    """Log-probabilities of a message's tokens."""

    content: list[ContentLogprob]
    refusal: None = None


class CalledFunction(Struct, frozen=True):
    """What is called; `arguments` is JSON text."""

    name: str
    arguments: str


class AnsweredCall(Struct, frozen=True):
    """One call of a whole answer."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class AssistantMessage(Struct, frozen=True):
    """The whole answer; no content where there are only calls."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: list[str] = []
    tool_calls: list[AnsweredCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class ChatChoice(Struct, frozen=True):
    """One of n answers."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None
    stop_reason: str | int | None = None


class Truncation(Struct, frozen=True):
    """What was left out of a conversation that was longer than the context."""

    dropped_messages: int
    dropped_tokens: int


class Coverage(Struct, frozen=True, omit_defaults=True):
    """Which keywords of a request's schemas the answer is sure to satisfy, and which say nothing that could be kept."""

    enforced: list[str] = []
    annotations: list[str] = []
    ignored: list[str] = []


class LostAnswer(Struct, frozen=True):
    """The first answer of a session that is not in the prompt as it was generated: its turn, where, and why."""

    turn_id: str
    token: int
    reason: str


class Divergence(Struct, frozen=True):
    """Where a resent history differs from the session's: index of the message, and the turn that it does not have."""

    message: int
    turn_id: str


class Miss(Struct, frozen=True):
    """The first token of a prompt that was not warm, the message that it belongs to, and why it was not.

    `new`: it was never there; `client_history`: a resent history differs; `template`: the chat template writes the past
    in another way now; `evicted`, `demoted`: it was there. What other tenants have is never looked at.
    """

    token: int
    message: int | None
    cause: Literal["new", "client_history", "template", "evicted", "demoted"]


class CacheReport(Struct, frozen=True):
    """Tokens of a prompt that were warm, by where they lay, and the seconds of computing that this saved.

    `saved_s` is null until the speed of prefill is measured.
    """

    device_tokens: int
    host_tokens: int
    disk_tokens: int
    missed: Miss | None
    saved_s: float | None


class Extras(Struct, frozen=True, omit_defaults=True):
    """What no other API has a place for.

    `completed_call` is the id of a call that is complete with this chunk, so that it can be run while the answer goes
    on; a call that was closed by the token budget is never said to be. With a session an answer says its turn, and
    whether every token that was generated in it is still in the prompt (`lossless`).
    """

    truncation: Truncation | None = None
    schema: Coverage | None = None
    completed_call: str | None = None
    session_id: str | None = None
    turn_id: str | None = None
    lossless: bool | None = None
    lost: LostAnswer | None = None
    diverged: Divergence | None = None
    cache: CacheReport | None = None
    cost: float | None = None


class ChatCompletion(Struct, frozen=True):
    """Answer of POST /v1/chat/completions."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"
    service_tier: Literal["default"] = "default"
    system_fingerprint: str | None = None
    espalier: Extras | UnsetType = UNSET


class FunctionDelta(Struct, frozen=True):
    """The name once, then more of the arguments."""

    name: str | UnsetType = UNSET
    arguments: str = ""


class CallDelta(Struct, frozen=True):
    """What a chunk adds to a call: id, type and name once."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta = FunctionDelta()


class Delta(Struct, frozen=True):
    """What a chunk adds: the role once, then reasoning, text, calls."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CallDelta] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """What a chunk adds to one of n answers."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None
    stop_reason: str | int | UnsetType | None = UNSET


class ChatChunk(Struct, frozen=True):
    """One event of a streamed chat completion."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    system_fingerprint: str | None = None
    usage: Usage | UnsetType | None = UNSET
    espalier: Extras | UnsetType = UNSET


class TextLogprobs(Struct, frozen=True):
    """Log-probabilities of a completion's tokens, as parallel lists."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Struct, frozen=True):
    """One completion, or what a chunk adds to it."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    logprobs: TextLogprobs | None = None
    stop_reason: str | int | None = None


class TextCompletion(Struct, frozen=True):
    """Answer of POST /v1/completions; chunks have the same shape."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: Literal["text_completion"] = "text_completion"
    system_fingerprint: str | None = None
    usage: Usage | UnsetType | None = UNSET
    espalier: Extras | UnsetType = UNSET
