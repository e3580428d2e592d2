"""Events of a streamed response, one struct each; `type` is its tag, `sequence_number` counts from 0 without a gap."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from espalier.gateway.wire.answers import ContentLogprob
from espalier.gateway.wire.items import Item, OutputText, ReasoningText
from espalier.gateway.wire.responses import Response


class Event(Struct, frozen=True, tag_field="type", kw_only=True):
    """Root of all events."""

    sequence_number: int


class ResponseEvent(Event, frozen=True):
    """An event that tells the whole response as it stands."""

    response: Response


class Created(ResponseEvent, frozen=True, tag="response.created"):
    """The first event; its output is empty."""


class Queued(ResponseEvent, frozen=True, tag="response.queued"):
    """A background response waits."""


class InProgress(ResponseEvent, frozen=True, tag="response.in_progress"):
    """The engine has it."""


class Completed(ResponseEvent, frozen=True, tag="response.completed"):
    """The answer is whole."""


class Incomplete(ResponseEvent, frozen=True, tag="response.incomplete"):
    """The answer ended early: `incomplete_details` says why, or `status` that it was cancelled."""


class Failed(ResponseEvent, frozen=True, tag="response.failed"):
    """The answer failed, `error` says why."""


class Error(Event, frozen=True, tag="error"):
    """What went wrong, nested as clients read it; `response.failed` follows."""

    error: dict[str, Any]


class ItemEvent(Event, frozen=True):
    """An event of one item."""

    output_index: int
    item: Item


class ItemAdded(ItemEvent, frozen=True, tag="response.output_item.added"):
    """An item begins."""


class ItemDone(ItemEvent, frozen=True, tag="response.output_item.done"):
    """An item is whole."""


class WithinItem(Event, frozen=True):
    """An event inside of an item."""

    item_id: str
    output_index: int


class PartEvent(WithinItem, frozen=True):
    """An event of one content part."""

    content_index: int
    part: OutputText | ReasoningText


class PartAdded(PartEvent, frozen=True, tag="response.content_part.added"):
    """A content part begins."""


class PartDone(PartEvent, frozen=True, tag="response.content_part.done"):
    """A content part is whole."""


class TextDelta(WithinItem, frozen=True, tag="response.output_text.delta"):
    """More text."""

    content_index: int
    delta: str
    logprobs: list[ContentLogprob]


class TextDone(WithinItem, frozen=True, tag="response.output_text.done"):
    """The text is whole."""

    content_index: int
    text: str
    logprobs: list[ContentLogprob]


class ReasoningDelta(WithinItem, frozen=True, tag="response.reasoning_text.delta"):
    """More reasoning."""

    content_index: int
    delta: str


class ReasoningDone(WithinItem, frozen=True, tag="response.reasoning_text.done"):
    """The reasoning is whole."""

    content_index: int
    text: str


class ArgumentsDelta(WithinItem, frozen=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(WithinItem, frozen=True, tag="response.function_call_arguments.done"):
    """A call's arguments are whole."""

    name: str
    arguments: str


LAST = (Completed, Incomplete, Failed)
