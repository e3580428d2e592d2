"""Requests of chat completions, completions and tokenize, after `parameters.select` took out what has no effect.

Ranges that depend on the server's options are checked in `gateway.sampling`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
CacheRetention = Literal["in_memory", "in-memory", "24h"]
MAX_SESSION_ID = 128
Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Function(Struct, frozen=True):
    """The function of a call that was made earlier."""

    name: str
    arguments: str


class ToolCall(Struct, frozen=True):
    """A call that was made earlier."""

    function: Function
    id: str = ""
    type: Literal["function"] = "function"
    index: int | None = None


class ToolFunction(Struct, frozen=True, omit_defaults=True):
    """What a tool is told as."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True):
    """A tool that the template tells the model of."""

    function: ToolFunction
    type: Literal["function"] = "function"


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation. The fields from `annotations` on are replayed by clients and change nothing."""

    role: Role
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    annotations: Any = None
    refusal: Any = None
    audio: None = None
    function_call: None = None
    provider_specific_fields: Any = None
    cache_control: Any = None
    citations: Any = None
    parsed: Any = None
    id: Any = None
    user: Any = None
    metadata: Any = None
    store: Any = None


class StructuredOutputs(Struct, frozen=True, forbid_unknown_fields=True):
    """What vLLM's clients send of an answer's form; one of the first five. The others change nothing here."""

    json: Any = None
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    disable_fallback: bool | None = None
    disable_any_whitespace: bool | None = None
    backend: Any = msgspec.field(default=None, name="_backend")


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream tells besides the answer."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class Common(Struct, frozen=True, kw_only=True):
    """Fields that chat completions and completions share."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Int64 | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[Small] = msgspec.field(default_factory=list)
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    ignore_eos: bool = False
    min_tokens: Small = 0
    logit_bias: dict[str, float] | None = None
    cache_salt: Annotated[str, Meta(max_length=256)] = ""
    response_format: dict[str, Any] | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    regex: str | None = None


class ChatRequest(Common, frozen=True, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[Message]
    session_id: Annotated[str, Meta(max_length=MAX_SESSION_ID)] = ""
    session_mode: Literal["auto", "append", "full"] = "auto"
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=512)] = ""
    prompt_cache_retention: CacheRetention | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool = False
    top_logprobs: Small | None = None


class CompletionRequest(Common, frozen=True, kw_only=True):
    """POST /v1/completions; several prompts are answered side by side."""

    prompt: str | list[str | Int64 | list[Int64]]
    logprobs: Small | None = None
    echo: bool = False


class TokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /tokenize: a prompt or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /detokenize."""

    tokens: list[Small]
    model: str | None = None
