"""Requests and answers of the Responses API. Field order is the order on the wire; every field is always present.

A request comes here after `parameters.select` took out what has no effect; what is echoed only stands here, too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from espalier.gateway.wire.answers import Extras
from espalier.gateway.wire.items import Item
from espalier.gateway.wire.requests import CacheRetention, Int64, Small

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
Truncation = Literal["auto", "disabled"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class FunctionTool(Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    """A function that the model may call."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    """One function of the request's tools, by its name."""

    name: str


class AllowedTools(Struct, frozen=True, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    """Some of the request's tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedTools


class TextFormat(Struct, frozen=True, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Free text."""


class JsonObjectFormat(Struct, frozen=True, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class JsonSchemaFormat(
    Struct, frozen=True, tag_field="type", tag="json_schema", forbid_unknown_fields=True, omit_defaults=True
):
    """A JSON text that satisfies a schema."""

    name: Annotated[str, Meta(max_length=256)]
    schema: dict[str, Any] | bool
    description: str | None = None
    strict: bool | None = None


class TextOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How the text of the answer is to be. `verbosity` is without effect on models that know none."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat = TextFormat()
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How much to think; without effect on models that have no such switch, and echoed."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class ConversationName(Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation by its id."""

    id: str


class ResponseStreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream tells besides the answer; obfuscation is never added."""

    include_obfuscation: bool | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """POST /v1/responses. Of the fields from `service_tier` on those of the prompt cache alone are more than echoed."""

    input: str | list[Any] = field(default_factory=list)
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationName | None = None
    store: bool | None = None
    background: bool = False
    stream: bool = False
    stream_options: ResponseStreamOptions | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    text: TextOptions = TextOptions()
    include: list[str] = field(default_factory=list)
    metadata: Metadata = field(default_factory=dict)
    truncation: Truncation | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Int64 | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool = False
    min_tokens: Small = 0
    logit_bias: dict[str, float] | None = None
    top_logprobs: Small = 0
    cache_salt: Annotated[str, Meta(max_length=256)] = ""
    service_tier: str | None = None
    max_tool_calls: Small | None = None
    reasoning: ReasoningOptions | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_retention: CacheRetention | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


class InputDetails(Struct, frozen=True):
    """Of the input's tokens, those found in the prefix tree, and those that this request added to it."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(Struct, frozen=True):
    """Of the output's tokens, those of the reasoning."""

    reasoning_tokens: int = 0


class ResponseUsage(Struct, frozen=True):
    """Tokens of a response."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class IncompleteDetails(Struct, frozen=True):
    """Why a response ended early."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseError(Struct, frozen=True):
    """Why a response failed; `code` is one of those that clients know."""

    code: ErrorCode
    message: str


class Response(Struct, frozen=True, kw_only=True):
    """The answer, growing or whole. Times are seconds since 1970. `espalier` is left out where it says nothing."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[Item] = field(default_factory=list)
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationName | None = None
    reasoning: ReasoningOptions | None
    service_tier: str = "default"
    store: bool
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    text: TextOptions
    tool_choice: ToolChoice
    tools: list[FunctionTool]
    truncation: Truncation
    usage: ResponseUsage | None = None
    metadata: Metadata
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    safety_identifier: str | None
    user: str | None
    espalier: Extras | UnsetType = UNSET


class DeletedResponse(Struct, frozen=True):
    """Answer of DELETE /v1/responses/{id}."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class ItemList(Struct, frozen=True):
    """A page of items; the ids are null where it is empty."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"
