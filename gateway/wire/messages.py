"""Requests and answers of the Messages API (Anthropic). Field order is the order on the wire.

A request comes here after `parameters.select` took out what has no effect. `gateway.message_input` reads its blocks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from espalier.gateway.wire.answers import Extras

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]
Text = Annotated[str, Meta(min_length=1, max_length=256)]


class GivenMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """One message; `content` is a text or blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Any] | None = None


class CustomTool(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that the client runs."""

    name: Text
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None
    type: Literal["custom"] | None = None


class Choice(Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Root of the ways to choose tools."""


class ChoiceNone(Choice, frozen=True, tag="none"):
    """No tool may be called."""


class ChoiceAuto(Choice, frozen=True, tag="auto"):
    """The model chooses."""

    disable_parallel_tool_use: bool = False


class ChoiceAny(Choice, frozen=True, tag="any"):
    """Some tool has to be called."""

    disable_parallel_tool_use: bool = False


class ChoiceTool(Choice, frozen=True, tag="tool"):
    """This tool has to be called."""

    name: str
    disable_parallel_tool_use: bool = False


class JsonFormat(Struct, frozen=True, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """The answer is a JSON text that satisfies a schema."""

    schema: dict[str, Any] | bool


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer has to be; `effort` is without effect on models that know none."""

    format: JsonFormat | None = None
    effort: str | None = None


class CountRequest(Struct, frozen=True, kw_only=True):
    """POST /v1/messages/count_tokens."""

    messages: list[GivenMessage]
    model: str | None = None
    system: str | list[Any] | None = None
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_choice: ChoiceNone | ChoiceAuto | ChoiceAny | ChoiceTool = ChoiceAuto()
    output_config: OutputConfig = OutputConfig()


class MessagesRequest(CountRequest, frozen=True, kw_only=True):
    """POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    stream: bool = False
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    stop_sequences: list[str] = msgspec.field(default_factory=list)
    cache_salt: Annotated[str, Meta(max_length=256)] = ""


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    """Text that was generated. No `citations`: a null there breaks clients."""

    text: str


class ThinkingBlock(Struct, frozen=True, tag_field="type", tag="thinking"):
    """What the model thought."""

    thinking: str
    signature: str


class ToolUseBlock(Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call of a tool."""

    id: str
    name: str
    input: dict[str, Any]


Block = TextBlock | ThinkingBlock | ToolUseBlock


class ThinkingTokens(Struct, frozen=True):
    """Of the output's tokens, those of the reasoning."""

    thinking_tokens: int


class MessageUsage(Struct, frozen=True):
    """Tokens of a message. Of its prompt, some were read in the prefix tree, some added; `input_tokens` are the rest.

    All that is computed is added, so the rest is a token that is always computed anew, or what another request added.
    """

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: ThinkingTokens
    service_tier: Literal["standard"] = "standard"


class AnswerMessage(Struct, frozen=True):
    """Answer of POST /v1/messages."""

    id: str
    model: str
    content: list[Block]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    espalier: Extras | UnsetType = UNSET


class TokenCount(Struct, frozen=True):
    """Answer of POST /v1/messages/count_tokens."""

    input_tokens: int


class MessageEvent(Struct, frozen=True, tag_field="type"):
    """Root of the events of a stream; the tag is the name of the event, too."""


class MessageStart(MessageEvent, frozen=True, tag="message_start"):
    """The first event."""

    message: AnswerMessage


class BlockStart(MessageEvent, frozen=True, tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: Block


class TextMore(Struct, frozen=True, tag_field="type", tag="text_delta"):
    """More text."""

    text: str


class ThinkingMore(Struct, frozen=True, tag_field="type", tag="thinking_delta"):
    """More reasoning."""

    thinking: str


class SignatureMore(Struct, frozen=True, tag_field="type", tag="signature_delta"):
    """The reasoning's signature."""

    signature: str


class InputMore(Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    """More of a call's arguments, as JSON text."""

    partial_json: str


class BlockDelta(MessageEvent, frozen=True, tag="content_block_delta"):
    """More of a block."""

    index: int
    delta: TextMore | ThinkingMore | SignatureMore | InputMore


class BlockStop(MessageEvent, frozen=True, tag="content_block_stop"):
    """A block is whole."""

    index: int


class Ending(Struct, frozen=True):
    """How a message ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(MessageEvent, frozen=True, tag="message_delta"):
    """How the message ended, and its counts."""

    delta: Ending
    usage: MessageUsage
    espalier: Extras | UnsetType = UNSET


class MessageStop(MessageEvent, frozen=True, tag="message_stop"):
    """The last event."""
