"""Server-sent events as a client reads them (WHATWG HTML, section 9.2.6). Pure: bytes go in, whole events come out.

An event that the end of the connection cuts in half is no event, so whoever goes on behind `last_id` misses nothing and
sees nothing twice, wherever the connection breaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from espalier.gateway.sdk.errors import StreamError

MAX_EVENT_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its `data`, the type that `event:` gives it, and the id that it or an event before it gave."""

    data: str
    kind: str = "message"
    id: str = ""


class EventReader:
    """Reads one connection; a new connection wants a new reader, which may begin with the last id of the one before."""

    def __init__(self, last_id: str = "", *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self.last_id = last_id
        self._rest = b""
        self._size = 0
        self._is_start = True
        self._data: list[str] = []
        self._kind, self._id = "", last_id

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that `data` completes. Raises StreamError for one that is too long or no UTF-8."""
        *lines, self._rest = _lines(self._rest + data)
        found = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > self._max_event_bytes:
            raise StreamError(f"an event is longer than {self._max_event_bytes} bytes")
        return found

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        self._size += len(line)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise StreamError(f"an event is no UTF-8: {line[:100]!r}") from None
        # "One leading U+FEFF BYTE ORDER MARK character must be ignored if any are present."
        text = text.removeprefix("\ufeff") if self._is_start else text
        self._is_start = False
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
        # return." The id holds nonetheless.
        self.last_id = self._id
        event = ServerEvent("\n".join(self._data), self._kind or "message", self._id) if self._data else None
        self._data, self._kind, self._size = [], "", 0
        return event


def _lines(data: bytes) -> list[bytes]:
    """Split at LF, CR LF or CR; a CR at the very end waits, since an LF may follow it."""
    if b"\r" not in data:
        return data.split(b"\n")
    held = data.endswith(b"\r")
    lines = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [*lines[:-1], lines[-1] + b"\r"] if held else lines
