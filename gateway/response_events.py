"""A response while it grows: from the events of an answer to those of its stream, and to the response as it stands.

Pure. Numbers go from 0 without a gap, an item keeps its id, and the last event's response holds all items that were
told as done. A call that the token budget closed is never told as done: clients run what is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, assert_never

from msgspec.structs import replace

from espalier.engine.messages import TokenLogprob
from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway import answer_event
from espalier.gateway.answer_event import AnswerEvent
from espalier.gateway.errors import ApiError
from espalier.gateway.extras import merged
from espalier.gateway.wire import response_stream as stream
from espalier.gateway.wire.answers import ContentLogprob, Extras
from espalier.gateway.wire.items import (
    CallItem,
    Item,
    ItemStatus,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
)
from espalier.gateway.wire.responses import (
    ErrorCode,
    IncompleteDetails,
    InputDetails,
    OutputDetails,
    Response,
    ResponseError,
    ResponseStatus,
    ResponseUsage,
)

Open: TypeAlias = MessageItem | CallItem | ReasoningItem
_CODES: dict[int, ErrorCode] = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
Spell: TypeAlias = Callable[[Sequence[TokenLogprob]], list[ContentLogprob]]
AtEnd: TypeAlias = Callable[[answer_event.Finished], Extras]


def _nothing(finished: answer_event.Finished) -> Extras:
    return Extras()


class ResponseEvents:
    """Grows `response`, which has no output yet.

    `new_id` makes an item's id from its prefix, `clock` gives seconds, `at_end` what else is said of a finished answer.
    """

    def __init__(
        self,
        response: Response,
        new_id: Callable[[str], str],
        spell: Spell,
        clock: Callable[[], float],
        at_end: AtEnd = _nothing,
    ) -> None:
        self._response, self._new_id, self._spell = response, new_id, spell
        self._clock, self._at_end = clock, at_end
        self._told: list[stream.Event] = []
        self._number = 0
        self._done: list[Item] = []
        self._open: Open | None = None
        self._texts: list[str] = []
        self._logprobs: list[ContentLogprob] = []

    @property
    def response(self) -> Response:
        """The response as it stands; an item that still grows is in progress."""
        growing = [self._grown("in_progress")] if self._open is not None else []
        return replace(self._response, output=[*self._done, *growing])

    def begin(self) -> list[stream.Event]:
        """The events before the answer; a queued response is in progress after them."""
        self._say(stream.Created, response=self._response)
        if self._response.status == "queued":
            self._say(stream.Queued, response=self._response)
            self._response = replace(self._response, status="in_progress")
        self._say(stream.InProgress, response=self._response)
        return self._take()

    def add(self, event: AnswerEvent) -> list[stream.Event]:
        """The events that one event of the answer becomes."""
        match event:
            case answer_event.ReasoningDelta():
                self._reasoning(event.text)
            case answer_event.TextDelta():
                self._text(event)
            case answer_event.CallBegun():
                self._begin_item(CallItem(self._new_id("fc"), event.call_id, event.name, "", "in_progress"))
            case answer_event.ArgumentsDelta():
                self._arguments(event.text)
            case answer_event.CallEnded():
                self._end_call(event)
            case answer_event.Finished():
                self._finish(event)
            case _:
                assert_never(event)
        return self._take()

    def fail(self, error: ApiError) -> list[stream.Event]:
        """The last events of an answer that failed."""
        self._end_item("incomplete")
        self._say(stream.Error, error=error.body()["error"])
        reason = ResponseError(_CODES.get(error.status, "server_error"), error.message)
        self._end(stream.Failed, "failed", error=reason)
        return self._take()

    def retract(self, error: ApiError) -> list[stream.Event]:
        """The last events of an answer whose end, not told yet, could not be kept; its number is used again."""
        self._number -= 1
        self._response = replace(self._response, completed_at=None, incomplete_details=None)
        return self.fail(error)

    def cancel(self) -> list[stream.Event]:
        """The last event of an answer that was cancelled."""
        self._end(stream.Incomplete, "cancelled")
        return self._take()

    def _say(self, kind: Callable[..., stream.Event], **fields: object) -> None:
        self._told.append(kind(sequence_number=self._number, **fields))
        self._number += 1

    def _take(self) -> list[stream.Event]:
        told, self._told = self._told, []
        return told

    def _within(self, kind: Callable[..., stream.Event], **fields: object) -> None:
        assert self._open is not None
        self._say(kind, item_id=self._open.id, output_index=len(self._done), **fields)

    def _begin_item(self, item: Open) -> None:
        self._end_item("completed")
        self._open, self._texts, self._logprobs = item, [], []
        self._say(stream.ItemAdded, output_index=len(self._done), item=item)
        if isinstance(item, MessageItem):
            self._within(stream.PartAdded, content_index=0, part=OutputText(""))
        elif isinstance(item, ReasoningItem):
            self._within(stream.PartAdded, content_index=0, part=ReasoningText(""))

    def _reasoning(self, text: str) -> None:
        if not isinstance(self._open, ReasoningItem):
            self._begin_item(ReasoningItem(self._new_id("rs"), status="in_progress"))
        self._texts.append(text)
        self._within(stream.ReasoningDelta, content_index=0, delta=text)

    def _text(self, event: answer_event.TextDelta) -> None:
        if not isinstance(self._open, MessageItem):
            self._begin_item(MessageItem(self._new_id("msg"), "assistant", [], "in_progress"))
        logprobs = self._spell(event.logprobs)
        self._texts.append(event.text)
        self._logprobs += logprobs
        self._within(stream.TextDelta, content_index=0, delta=event.text, logprobs=logprobs)

    def _arguments(self, text: str) -> None:
        self._texts.append(text)
        self._within(stream.ArgumentsDelta, delta=text)

    def _end_call(self, event: answer_event.CallEnded) -> None:
        if not self._texts:  # clients wait for at least one delta
            self._arguments(event.arguments)
        self._within(stream.ArgumentsDone, name=event.name, arguments=event.arguments)
        self._item_done("completed")

    def _end_item(self, status: ItemStatus) -> None:
        """Tell what still grows as done, whole or not; but a call that did not end by itself stays untold."""
        text = "".join(self._texts)
        match self._open:
            case MessageItem():
                self._within(stream.TextDone, content_index=0, text=text, logprobs=self._logprobs)
                self._within(stream.PartDone, content_index=0, part=OutputText(text, logprobs=self._logprobs))
                self._item_done(status)
            case ReasoningItem():
                self._within(stream.ReasoningDone, content_index=0, text=text)
                self._within(stream.PartDone, content_index=0, part=ReasoningText(text))
                self._item_done(status)
            case CallItem():
                self._done.append(self._grown("incomplete"))
                self._open = None

    def _item_done(self, status: ItemStatus) -> None:
        item = self._grown(status)
        self._say(stream.ItemDone, output_index=len(self._done), item=item)
        self._done.append(item)
        self._open = None

    def _grown(self, status: ItemStatus) -> Item:
        text = "".join(self._texts)
        match self._open:
            case MessageItem():
                return replace(self._open, content=[OutputText(text, logprobs=list(self._logprobs))], status=status)
            case ReasoningItem():
                return replace(self._open, content=[ReasoningText(text)], status=status)
            case CallItem():
                return replace(self._open, arguments=text, status=status)
        raise AssertionError("no item is open")

    def _finish(self, event: answer_event.Finished) -> None:
        is_whole = event.reason != "length"
        if not self._done and self._open is None:  # clients read output[0]
            self._begin_item(MessageItem(self._new_id("msg"), "assistant", [], "in_progress"))
        self._end_item("completed" if is_whole else "incomplete")
        extras = merged(self._response.espalier, self._at_end(event))
        self._response = replace(self._response, usage=usage_of(event.usage), espalier=extras)
        if is_whole:
            self._end(stream.Completed, "completed", completed_at=int(self._clock()))
        else:
            self._end(stream.Incomplete, "incomplete", incomplete_details=IncompleteDetails("max_output_tokens"))

    def _end(self, kind: Callable[..., stream.Event], status: ResponseStatus, **fields: object) -> None:
        self._end_item("incomplete")
        self._response = replace(self._response, status=status, output=list(self._done), **fields)
        self._say(kind, response=self._response)


def usage_of(usage: EngineUsage) -> ResponseUsage:
    """Usage as Responses tells it."""
    return ResponseUsage(
        usage.prompt_tokens,
        InputDetails(usage.cached_tokens, usage.written_tokens),
        usage.completion_tokens,
        OutputDetails(usage.reasoning_tokens),
        usage.prompt_tokens + usage.completion_tokens,
    )
