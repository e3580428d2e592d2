"""The events of one POST, each once and in order, over as many connections as it takes.

The protocol: the request carries an Idempotency-Key, each event an id, and `[DONE]` is the end. Where the connection
breaks before it, the same request is made again with the `Last-Event-ID` that was read, and the server goes on behind
it. Where the server has lost the answer (it died before the turn was acknowledged), it is made anew, and a `Restart`
says so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import httpx
import msgspec

from espalier.gateway.sdk.connection import Connection, Failure, refused
from espalier.gateway.sdk.errors import RefusedError, StreamError, UnavailableError
from espalier.gateway.sdk.failure import code_of, read_error
from espalier.gateway.sdk.sse import EventReader, ServerEvent

DONE = "[DONE]"

# What a stream may end with where asking again makes the answer anew.
_RETRIED = {
    "engine_died",
    "engine_unavailable",
    "overloaded",
    "draining",
    "service_unavailable_error",
    "rate_limit_error",
}
# What answers that no model made come as: a web page, or a whole completion where a stream was asked for.
_NO_STREAMS = ("text/html", "application/json")
# What the server says to a Last-Event-ID that it does not know (any more).
_GONE = {"event_not_found", "stream_not_found", "stream_gone"}


class Restart:
    """Events before this one are void; the answer begins anew."""


class _BrokenError(Exception):
    """A connection's end before `[DONE]`; `is_void` where what it said is void, too."""

    def __init__(self, failure: Failure, *, is_void: bool = False) -> None:
        super().__init__()
        self.failure, self.is_void = failure, is_void


class EventStream:
    """One streamed answer."""

    def __init__(
        self, connection: Connection, path: str, body: object, *, key: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._connection, self._path = connection, path
        self._headers = {"idempotency-key": key, "accept": "text/event-stream", **(headers or {})}
        self._content = msgspec.json.encode(body)
        self._last_id = ""
        self._num_seen = 0
        self._num_restarts = 0
        self._is_void = False

    def restart(self) -> None:
        """Told by who reads that these events are of another answer than those before: read it from its first event."""
        self._is_void = True

    async def read(self) -> AsyncGenerator[ServerEvent | Restart, None]:
        """The events up to `[DONE]`. Raises ServerError, StreamError."""
        attempt = 0
        while True:
            attempt += 1
            try:
                async with aclosing(self._connect()) as events:
                    async for event in events:
                        attempt = 0
                        yield event
                        if self._is_void:
                            break
                    else:
                        return
                self._begin_anew()
            except _BrokenError as broken:
                if broken.is_void:
                    self._begin_anew()
                    yield Restart()
                elif broken.failure.is_retried and self._num_seen and not self._last_id:
                    raise StreamError(f"the stream broke, and its events have no ids: {broken.failure.error}") from None
                await self._connection.wait(broken.failure, max(attempt, self._num_restarts))

    def _begin_anew(self) -> None:
        self._is_void = False
        self._last_id, self._num_seen = "", 0
        self._num_restarts += 1

    async def _connect(self) -> AsyncGenerator[ServerEvent, None]:
        """The events of one connection, ended by `[DONE]`. Raises _BrokenError."""
        headers = {**self._headers, "last-event-id": self._last_id} if self._last_id else self._headers
        try:
            async with (
                self._connection.opened() as http,
                http.stream("POST", self._path, content=self._content, headers=headers) as answer,
            ):
                if not answer.is_success:
                    failure = refused(answer, await answer.aread())
                    raise _gone(failure) if failure.error.code in _GONE and self._last_id else _BrokenError(failure)
                if (kind := answer.headers.get("content-type", "")).startswith(_NO_STREAMS):
                    start = (await answer.aread())[:200].decode(errors="replace")
                    raise StreamError(f"{answer.url} answered {kind}, no stream of events: {start!r}")
                reader = EventReader(self._last_id)
                async for data in answer.aiter_bytes():
                    for event in reader.feed(data):
                        if event.data == DONE:
                            return
                        _check(event)
                        self._num_seen += 1
                        self._last_id = event.id
                        yield event
        except httpx.TransportError as error:
            raise _BrokenError(self._connection.lost(error)) from None
        raise _BrokenError(Failure(UnavailableError("the stream ended before its end")))


def _check(event: ServerEvent) -> None:
    """Raise what an event that is an error says."""
    if '"error"' not in event.data or (error := read_error(event.data)) is None:
        return
    code = code_of(error)
    if code in _RETRIED or error.type in _RETRIED:
        raise _BrokenError(Failure(UnavailableError(error.message, code=code)), is_void=True)
    raise _BrokenError(Failure(RefusedError(error.message, code=code, param=error.param), is_retried=False))


def _gone(failure: Failure) -> _BrokenError:
    error = failure.error
    return _BrokenError(
        Failure(UnavailableError(str(error.args[0]), status=error.status, code=error.code)), is_void=True
    )
