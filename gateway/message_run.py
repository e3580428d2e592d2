"""A message that outlives its connection, because it has a key: a live turn writes its events into a log."""

from __future__ import annotations

from contextlib import aclosing

from espalier.engine.errors import EngineError
from espalier.gateway import message_error
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.event_log import EventLog
from espalier.gateway.log import request_id_var
from espalier.gateway.message_events import MessageEvents
from espalier.gateway.service import Job, Service
from espalier.gateway.sse import Form, event
from espalier.gateway.wire.messages import AnswerMessage, MessageEvent


def _write(told: MessageEvent) -> bytes:
    return event(told, str(told.__struct_config__.tag))


def _fail(error: ApiError) -> bytes:
    return event(message_error.body(error, request_id_var.get() or ""), "error")


def _as_it_is(data: bytes) -> bytes:
    return data


FORM = Form(_write, _fail, b"")
"""Every event is named, and nothing follows `message_stop`."""
LOGGED = Form(_as_it_is, _fail, b"")
"""As the events of a log are sent."""


class MessageRun:
    """Makes one message."""

    def __init__(self, service: Service, job: Job, growing: MessageEvents) -> None:
        self._service, self._job, self._growing = service, job, growing

    @property
    def message(self) -> AnswerMessage:
        """The message as it stands."""
        return self._growing.message

    async def produce(self, log: EventLog) -> None:
        """Make it. Raises ApiError for what failed, told in the log or not."""
        try:
            async with aclosing(self._service.answer_events([self._job])) as events:
                async for told in events:
                    before = [] if log.next else self._growing.begin(told.usage)
                    for one in (*before, *self._growing.add(told.event)):
                        log.append(_write(one))
        except (ApiError, EngineError) as error:
            failed = from_engine(error) if isinstance(error, EngineError) else error
            if log.next:
                log.append(_fail(failed))
            raise failed from None
