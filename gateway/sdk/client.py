"""A server as agents see it: `Client("http://127.0.0.1:8000", api_key="...")`.

Every turn is streamed under an idempotency key, so that a broken line is resumed and a repeated request is a replay.
The sessions of the server are here, too. Requests: POST /v1/chat/completions, /v1/sessions.
"""

from __future__ import annotations

import asyncio
import os
import random as random_module
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from espalier.gateway.sdk.chunk import ChunkReader, read_chunk
from espalier.gateway.sdk.errors import DefinitionError, RefusedError, StreamError
from espalier.gateway.sdk.event import ModelEvent, Replied, TurnRestarted
from espalier.gateway.sdk.model import Query, SessionTurn
from espalier.gateway.sdk.object import Models, SessionObject, TurnObject, TurnPage
from espalier.gateway.sdk.request import body_of
from espalier.gateway.sdk.retry import Retry

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
# The environment variables that stand in for what is not given.
URL_VARIABLE, KEY_VARIABLE = "ESPALIER_URL", "ESPALIER_API_KEY"
TIMEOUT_S = 600.0
# Turns of a session that are read at once.
PAGE = 50


class Client:
    """A server. The first argument and `api_key` default to $ESPALIER_URL and $ESPALIER_API_KEY.

    `timeout_s` is the longest silence of the server that is borne. `transport` is httpx's seam: give
    `httpx.ASGITransport(app)` to ask an application in this process. `async with client:` keeps its connections open;
    otherwise each run opens its own. Raises DefinitionError for what is no URL.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        # Loads httpx, which weighs as much as all the rest: a program that only defines tools does without it.
        from espalier.gateway.sdk.connection import Connection

        self.url = _base(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        key = api_key or os.environ.get(KEY_VARIABLE)
        self._connection = Connection(
            self.url,
            {
                "content-type": "application/json",
                **({"authorization": f"Bearer {key}"} if key else {}),
                **(headers or {}),
            },
            retry=retry or Retry(),
            timeout_s=timeout_s,
            transport=transport,
            sleep=sleep,
            random=random,
        )

    async def __aenter__(self) -> Client:
        self._connection.enter()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connection.leave()

    def opened(self) -> AbstractAsyncContextManager[object]:
        """Hold the connections for as long as a block runs."""
        return self._connection.opened()

    async def stream(self, query: Query) -> AsyncGenerator[ModelEvent, None]:
        """Make one turn; the last event is `Replied`. Raises ServerError, StreamError."""
        from espalier.gateway.sdk.event_stream import EventStream, Restart

        headers = {"if-match": query.head} if query.head else {}
        stream = EventStream(self._connection, "/v1/chat/completions", body_of(query), key=query.key, headers=headers)
        reader = ChunkReader()
        try:
            async with aclosing(stream.read()) as events:
                async for event in events:
                    chunk = None if isinstance(event, Restart) else read_chunk(event.data)
                    if chunk is None or reader.is_other(chunk):
                        reader = ChunkReader()
                        yield TurnRestarted()
                        if chunk is not None:
                            stream.restart()
                        continue
                    for told in reader.take(chunk):
                        yield told
        except StreamError:
            if reader.finish_reason is None:
                raise
            # The turn is whole; a server without event ids closed the line without `[DONE]`.
        yield Replied(reader.reply())

    async def models(self) -> list[str]:
        """The names of the models that are served. Raises ServerError."""
        body = await self._ask("GET", "/v1/models", Models)
        return [model.id for model in body.data]

    async def turns(self, session_id: str, *, last: int | None = None) -> tuple[SessionTurn, ...]:
        """The complete turns of a session up to its tip, oldest first, or the `last` so many of them; none where there
        is no such session. Raises ServerError.
        """
        try:
            session = await self._ask("GET", _path(session_id), SessionObject)
        except RefusedError as error:
            if error.status == 404:
                return ()
            raise
        known = await self._own_turns(session_id) if last is None else {}
        found: list[SessionTurn] = []
        ref = session.head
        while ref and (last is None or len(found) < last):
            # The turns of a fork that lie before it are those of another session, which only their ids lead to.
            path = f"{_path(session_id)}/turns/{quote(ref, safe='')}"
            turn = known[ref] if ref in known else await self._ask("GET", path, TurnObject)
            found.append(turn.told())
            ref = turn.parent
        return tuple(reversed(found))

    async def _own_turns(self, session_id: str) -> dict[str, TurnObject]:
        known: dict[str, TurnObject] = {}
        after = ""
        while True:
            page = await self._ask("GET", f"{_path(session_id)}/turns?limit={PAGE}&order=asc{after}", TurnPage)
            known |= {turn.id: turn for turn in page.data}
            if not page.has_more or not page.data:
                return known
            after = f"&after={quote(page.data[-1].id, safe='')}"

    async def fork(self, session_id: str, at: str | None = None) -> str:
        """A new session that shares the turns up to `at` (default the tip); its id. Raises ServerError."""
        body = {"at": at} if at else {}
        return (await self._ask("POST", f"{_path(session_id)}/fork", SessionObject, body)).id

    async def rollback(self, session_id: str, to: str | None) -> None:
        """Forget the turns after `to`, all of them for None. Raises ServerError."""
        await self._ask("POST", f"{_path(session_id)}/rollback", SessionObject, {"to": to})

    async def delete(self, session_id: str) -> None:
        """Delete a session and what it holds. Raises ServerError."""
        await self._connection.ask("DELETE", _path(session_id))

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        answer = await self._connection.ask(method, path, body)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise StreamError(f"{method} {path} answered what is not understood: {error}") from None


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise DefinitionError(f"{url!r} is no URL of a server, such as {DEFAULT_URL}")
    # OpenAI's clients want the path in the URL; who is used to that may write it here, too.
    return url.rstrip("/").removesuffix("/v1")


def _path(session_id: str) -> str:
    return f"/v1/sessions/{quote(session_id, safe='')}"
