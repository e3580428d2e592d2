"""A message of the Messages API while it grows: from the events of an answer to those of its stream, and to the whole.

Pure. Blocks are numbered from 0, one is open at a time, and every block that was begun is stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias, assert_never

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway.answer_event import (
    AnswerEvent,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
)
from espalier.gateway.extras import merged
from espalier.gateway.wire import messages as wire
from espalier.gateway.wire.answers import Extras
from espalier.gateway.wire.messages import Block, MessageEvent, StopReason, TextBlock, ThinkingBlock, ToolUseBlock

AtEnd: TypeAlias = Callable[[Finished], Extras]
# Clients send thinking back only with a signature; nothing here is signed.
SIGNATURE = "unsigned"
_REASONS: dict[FinishReason, StopReason] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _nothing(finished: Finished) -> Extras:
    return Extras()


class MessageEvents:
    """Grows the message `message_id` of `model`.

    `extras` is what this API has no place for, `at_end` what else is said of a finished answer.
    """

    def __init__(
        self, message_id: str, model: str, extras: Extras | UnsetType = UNSET, at_end: AtEnd = _nothing
    ) -> None:
        self._id, self._model, self._extras, self._at_end = message_id, model, extras, at_end
        self._told: list[MessageEvent] = []
        self._blocks: list[Block] = []
        self._texts: list[str] = []
        self._is_open = False
        self._ending: wire.Ending | None = None
        self._usage = usage_of(EngineUsage())

    @property
    def message(self) -> wire.AnswerMessage:
        """The message as it stands, its whole blocks only."""
        ending = self._ending
        return wire.AnswerMessage(
            self._id,
            self._model,
            self._blocks[:-1] if self._is_open else list(self._blocks),
            ending.stop_reason if ending else None,
            ending.stop_sequence if ending else None,
            self._usage,
            espalier=self._extras,
        )

    def begin(self, usage: EngineUsage) -> list[MessageEvent]:
        """The event before the answer."""
        self._usage = usage_of(replace(usage, completion_tokens=0, reasoning_tokens=0))
        return [wire.MessageStart(self.message)]

    def add(self, event: AnswerEvent) -> list[MessageEvent]:
        """The events that one event of the answer becomes."""
        match event:
            case ReasoningDelta():
                self._more(ThinkingBlock("", ""), wire.ThinkingMore(event.text), event.text)
            case TextDelta():
                self._more(TextBlock(""), wire.TextMore(event.text), event.text)
            case CallBegun():
                self._begin(ToolUseBlock(event.call_id, event.name, {}))
            case ArgumentsDelta():
                self._texts.append(event.text)
                self._delta(wire.InputMore(event.text))
            case CallEnded():
                self._stop()
            case Finished():
                self._finish(event)
            case _:
                assert_never(event)
        told, self._told = self._told, []
        return told

    def _more(self, empty: TextBlock | ThinkingBlock, delta: wire.TextMore | wire.ThinkingMore, text: str) -> None:
        if not (self._is_open and isinstance(self._blocks[-1], type(empty))):
            self._begin(empty)
        self._texts.append(text)
        self._delta(delta)

    def _begin(self, empty: Block) -> None:
        self._stop()
        self._told.append(wire.BlockStart(len(self._blocks), empty))
        self._blocks.append(empty)
        self._is_open, self._texts = True, []

    def _delta(self, delta: wire.TextMore | wire.ThinkingMore | wire.SignatureMore | wire.InputMore) -> None:
        self._told.append(wire.BlockDelta(len(self._blocks) - 1, delta))

    def _stop(self) -> None:
        if not self._is_open:
            return
        text, block = "".join(self._texts), self._blocks[-1]
        match block:
            case TextBlock():
                self._blocks[-1] = TextBlock(text)
            case ThinkingBlock():
                self._delta(wire.SignatureMore(SIGNATURE))
                self._blocks[-1] = ThinkingBlock(text, SIGNATURE)
            case ToolUseBlock():
                self._blocks[-1] = ToolUseBlock(block.id, block.name, json.loads(text or "{}"))
        self._told.append(wire.BlockStop(len(self._blocks) - 1))
        self._is_open = False

    def _finish(self, event: Finished) -> None:
        if not self._blocks:  # clients read content[0]
            self._begin(TextBlock(""))
        self._stop()
        self._usage = usage_of(event.usage)
        was_stopped = event.reason == "stop" and isinstance(event.stop_reason, str)
        reason: StopReason = "stop_sequence" if was_stopped else _REASONS[event.reason]
        self._ending = wire.Ending(reason, str(event.stop_reason) if was_stopped else None)
        self._extras = merged(self._extras, self._at_end(event))
        self._told += [wire.MessageDelta(self._ending, self._usage, self._extras), wire.MessageStop()]


def usage_of(usage: EngineUsage) -> wire.MessageUsage:
    """Usage as Messages tells it: the prompt in three parts that add up."""
    return wire.MessageUsage(
        usage.prompt_tokens - usage.cached_tokens - usage.written_tokens,
        usage.written_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        wire.ThinkingTokens(usage.reasoning_tokens),
    )
