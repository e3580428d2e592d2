"""The outputs of one request, between the engine that makes them and the client that reads them.

The engine never waits for a client: what a slow one has not read yet is handed over merged, as one output. So what is
held is bounded by the answer's own length, and nothing is lost or reordered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby

import msgspec

from espalier.engine.errors import EngineError, RequestError
from espalier.engine.messages import Output, PartEvent, PartText
from espalier.gateway.engine_client import error_from


class Mailbox:
    """One writer, one reader. It is finished once the last output, or an error in its place, was put in."""

    def __init__(self) -> None:
        self._unread: list[Output] = []
        self._error: EngineError | None = None
        self._arrived = asyncio.Event()
        self._finished = asyncio.Event()

    @property
    def is_finished(self) -> bool:
        """Whether the engine has no more to say, read or not."""
        return self._finished.is_set()

    def put(self, output: Output) -> None:
        """Add what the engine said; finish reason "error" becomes the exception it names."""
        if output.finish_reason == "error":
            self.fail(error_from(output.error_code, output.error_message, output.error_param))
            return
        self._unread.append(output)
        self._arrived.set()
        if output.finish_reason is not None:
            self._finished.set()

    def fail(self, error: EngineError) -> None:
        """End the request with an error, raised after what was said before it is read."""
        if not self.is_finished:
            self._error = error
            self._arrived.set()
            self._finished.set()

    async def take(self) -> Output:
        """All that is unread, as one output, waiting for some. Raises the error that ended the request."""
        while not self._unread:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        # What a token's log-probability belongs to is told by what comes with it.
        num = 1 if self._unread[0].logprobs and self._unread[0].parts else len(self._unread)
        output, self._unread = merge(self._unread[:num]), self._unread[num:]
        return output

    async def finished(self) -> None:
        """Return once `is_finished`."""
        await self._finished.wait()


class Mailboxes:
    """The mailboxes of the requests that run in one engine, by request id.

    Invariant: a mailbox is here until the engine has said its last output, read or not, so that a request whose reader
    left still counts until its slots are free.
    """

    def __init__(self) -> None:
        self._boxes: dict[str, Mailbox] = {}

    def __len__(self) -> int:
        return len(self._boxes)

    def ids(self) -> list[str]:
        """Ids of the running requests."""
        return list(self._boxes)

    def get(self, request_id: str) -> Mailbox | None:
        """The mailbox of a running request."""
        return self._boxes.get(request_id)

    def open(self, request_id: str) -> Mailbox:
        """Make the mailbox of a new request. Raises RequestError if one of this id runs."""
        if request_id in self._boxes:
            raise RequestError(f"request id {request_id!r} is running already", param="request_id")
        box = self._boxes[request_id] = Mailbox()
        return box

    def deliver(self, outputs: Sequence[Output]) -> None:
        """Put each output where it belongs. One of an unknown id is dropped: its request has been refused here."""
        for output in outputs:
            if (box := self._boxes.get(output.request_id)) is not None:
                box.put(output)
                if box.is_finished:
                    del self._boxes[output.request_id]

    def fail_all(self, error: Callable[[], EngineError]) -> int:
        """End every request with an error of its own; returns how many there were."""
        boxes, self._boxes = self._boxes, {}
        for box in boxes.values():
            box.fail(error())
        return len(boxes)

    async def all_finished(self) -> None:
        """Return once every request that runs now is finished."""
        for box in list(self._boxes.values()):
            await box.finished()


def merge(outputs: Sequence[Output]) -> Output:
    """Outputs of one request, in order and at least one, as the one output that says the same."""
    if len(outputs) == 1:
        return outputs[0]
    logprobs = [output.logprobs for output in outputs if output.logprobs is not None]
    return msgspec.structs.replace(
        outputs[-1],
        text="".join(output.text for output in outputs),
        token_ids=list(chain.from_iterable(output.token_ids for output in outputs)),
        logprobs=list(chain.from_iterable(logprobs)) if logprobs else None,
        parts=tuple(_joined(chain.from_iterable(output.parts for output in outputs))),
    )


def _joined(parts: Iterable[PartEvent]) -> Iterator[PartEvent]:
    """Parts with their text in one piece."""
    for (is_text, _), group in groupby(parts, key=lambda event: (isinstance(event, PartText), event.part)):
        if is_text:
            events = [event for event in group if isinstance(event, PartText)]
            yield PartText(events[0].part, "".join(event.text for event in events))
        else:
            yield from group
