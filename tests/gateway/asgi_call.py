"""One request to an application in this process, read piece by piece and broken off where a test wants."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp, Message


class AsgiCall:
    """The request runs while the context is open; leaving it, or `disconnect`, is the client going away."""

    def __init__(
        self, app: ASGIApp, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        self._app, self._body = app, b"" if body is None else json.dumps(body).encode()
        pure, _, query = path.partition("?")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": pure,
            "raw_path": pure.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._has_asked = False
        self.status = 0
        self.is_complete = False

    async def __aenter__(self) -> Self:
        self._task: asyncio.Future[None] = asyncio.ensure_future(self._app(self._scope, self._receive, self._sent.put))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def disconnect(self) -> None:
        """Go away, and return when the application has noticed."""
        self._gone.set()
        await self._task

    async def chunk(self) -> bytes:
        """The next piece of the body; b"" at its end."""
        while not self.is_complete:
            message = await self._sent.get()
            if message["type"] == "http.response.start":
                self.status = message["status"]
                continue
            self.is_complete = not message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        return b""

    async def rest(self) -> bytes:
        """The body from here to its end."""
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    async def json(self) -> Any:
        """The whole body."""
        return json.loads(await self.rest())

    async def _receive(self) -> Message:
        if not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream with its ids, its form checked; `[DONE]` is its end and no event."""
    *blocks, last, rest = body.decode().split("\n\n")
    assert last == "data: [DONE]" and not rest
    return [event_of(block.encode() + b"\n\n") for block in blocks]


def event_of(frame: bytes) -> dict[str, Any]:
    """One event: its data, which agrees with its name and its id."""
    head, name, data, *rest = frame.decode().split("\n")
    assert rest == ["", ""] and head.startswith("id: ") and name.startswith("event: ") and data.startswith("data: ")
    event: dict[str, Any] = json.loads(data[6:])
    assert event["type"] == name[7:] and event["sequence_number"] == int(head[4:])
    return event
