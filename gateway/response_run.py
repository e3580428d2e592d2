"""A response being made: reads the answer's events, writes the log that clients read, and stores what came of it.

The last event is told when the response is on disk, never before. A failure before the first event is raised, so that
it becomes a status; after it, it is told in the stream. What is cut short is rolled back, and stays readable as such.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from espalier.engine.errors import EngineError
from espalier.gateway.answer_event import Finished
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.event_log import EventLog
from espalier.gateway.live_turn import unhurried
from espalier.gateway.response_archive import ResponseArchive
from espalier.gateway.response_events import ResponseEvents
from espalier.gateway.response_request import in_own_words
from espalier.gateway.service import Job, Service
from espalier.gateway.session_errors import from_session
from espalier.gateway.sse import event
from espalier.gateway.wire.response_stream import Event
from espalier.gateway.wire.responses import Response
from espalier.sessions.errors import SessionError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a response is stored: a running turn."""

    archive: ResponseArchive
    tenant: str
    turn_id: str


class ResponseRun:
    """Makes one response; `place` is None for one that is not stored."""

    def __init__(self, service: Service, job: Job, growing: ResponseEvents, place: Place | None) -> None:
        self._service, self._job, self._growing, self._place = service, job, growing, place
        self._output_ids: list[int] = []
        self._until_stored: Response | None = None
        self.has_begun = False

    @property
    def response(self) -> Response:
        """The response as it stands; one that is whole, but not on disk yet, is still in progress."""
        return self._until_stored or self._growing.response

    async def produce(self, log: EventLog) -> None:
        """Make it. Raises ApiError for what failed, told in the log or not."""
        try:
            if self._growing.response.background:
                self._begin(log)
            last = await self._answer(log)
        except asyncio.CancelledError:
            await self._end_early(log, self._growing.cancel())
            raise
        except (ApiError, EngineError) as error:
            told = in_own_words(from_engine(error) if isinstance(error, EngineError) else error)
            await self._end_early(log, self._growing.fail(told))
            raise told from None
        try:
            await self._complete(log, last)
        finally:
            self._until_stored = None

    async def _answer(self, log: EventLog) -> list[Event]:
        """Write the events of the answer but the last, which is returned: it is told when the answer is stored."""
        last: list[Event] = []
        async with aclosing(self._service.answer_events([self._job])) as events:
            async for told in events:
                self._begin(log)
                self._output_ids += told.token_ids
                if isinstance(told.event, Finished):
                    self._until_stored = self._growing.response
                grown = self._growing.add(told.event)
                if isinstance(told.event, Finished):
                    *grown, end = grown
                    last = [end]
                _write(log, grown)
        return last

    def _begin(self, log: EventLog) -> None:
        if not self.has_begun:
            self.has_begun = True
            _write(log, self._growing.begin())

    async def _complete(self, log: EventLog, last: list[Event]) -> None:
        """Store it, then tell its end: an answer that is whole is not given up any more, whoever leaves."""
        if (place := self._place) is not None:
            events = _kept(log, last)
            archive, output_ids = place.archive, tuple(self._output_ids)
            storing = asyncio.ensure_future(
                archive.complete(place.tenant, place.turn_id, self._growing.response, events, output_ids)
            )
            try:
                archive.hold(self._service.client, await unhurried(storing))
            except SessionError as error:
                told = from_session(error)
                _write(log, self._growing.retract(told))
                raise told from None
        _write(log, last)

    async def _end_early(self, log: EventLog, last: list[Event]) -> None:
        """Roll back, and tell clients and store alike what became of it, if there was anything to be told of."""
        if (place := self._place) is not None:
            response, events = (self._growing.response, _kept(log, last)) if self.has_begun else (None, ())
            # The store may take no writes; on its next start it rolls back by itself.
            with contextlib.suppress(SessionError):
                await place.archive.end_early(place.tenant, place.turn_id, response, events)
        if self.has_begun:
            _write(log, last)


def _frames(events: Sequence[Event]) -> list[bytes]:
    return [event(told, str(told.__struct_config__.tag)) for told in events]


def _write(log: EventLog, events: Sequence[Event]) -> None:
    for frame in _frames(events):
        log.append(frame)


def _kept(log: EventLog, last: Sequence[Event]) -> tuple[bytes, ...]:
    """All events, to be stored; none if there were too many to keep them."""
    return () if log.first else (*log.events, *_frames(last))
