"""The events of one turn, numbered from 0 without a gap; any number of readers, each from where it likes.

Knows no turn, no HTTP and no clock. Events are bytes, whatever API they are of. Kept within a bound: the oldest go
first, and who asks for one of those is told so instead of being given a stream with a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

MAX_BYTES = 16 * 2**20
"""Of one turn: the events of about 60,000 tokens."""


class GapError(LookupError):
    """The event that a reader asks for is no longer kept."""


class EventLog:
    """See the module."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._events: list[bytes] = []
        self._num_bytes = 0
        self._first = 0
        self._changed = asyncio.Event()
        self.is_closed = False

    @property
    def first(self) -> int:
        """Number of the oldest event that is kept."""
        return self._first

    @property
    def next(self) -> int:
        """Number that the next event gets: how many there have been."""
        return self._first + len(self._events)

    @property
    def events(self) -> tuple[bytes, ...]:
        """The events that are kept, `first` and those after it."""
        return tuple(self._events)

    def append(self, data: bytes) -> int:
        """Add an event; returns its number."""
        assert not self.is_closed
        self._events.append(data)
        self._num_bytes += len(data)
        if self._num_bytes > self._max_bytes:
            self._drop()
        self._tell()
        return self.next - 1

    def close(self) -> None:
        """No event follows; readers end after the last one."""
        self.is_closed = True
        self._tell()

    async def begun(self) -> None:
        """Return once there is an event, or there will be none."""
        while not self.next and not self.is_closed:
            await self._changed.wait()

    async def read(self, start: int = 0) -> AsyncGenerator[tuple[int, bytes], None]:
        """Number and data of all events from `start`, waiting for more until the log is closed. Raises GapError."""
        at = start
        while True:
            while at < self.next:
                if at < self._first:
                    raise GapError(f"event {at} is no longer kept; the oldest is {self._first}")
                yield at, self._events[at - self._first]
                at += 1
            if self.is_closed:
                return
            await self._changed.wait()

    def _drop(self) -> None:
        """Forget the oldest events, a quarter of the bound at once, never the last."""
        num_dropped = 0
        while self._num_bytes > self._max_bytes * 3 // 4 and num_dropped < len(self._events) - 1:
            self._num_bytes -= len(self._events[num_dropped])
            num_dropped += 1
        del self._events[:num_dropped]
        self._first += num_dropped

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
