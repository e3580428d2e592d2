"""One server over HTTP: a pool of connections, and requests that are repeated where that may help.

Knows nothing of what is asked. The sockets are behind httpx's transport seam, so a test gives an ASGI transport. There
is a pool for each event loop, open as long as somebody uses it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from espalier.gateway.sdk.errors import ServerError, UnavailableError
from espalier.gateway.sdk.failure import failure_of
from espalier.gateway.sdk.retry import Retry, is_retried, retry_after_s

_LOG = logging.getLogger("espalier.sdk")

CONNECT_S = 5.0
# Whoever waits is told why from this attempt on; what passes by itself before is nobody's concern.
TOLD_ATTEMPT = 3


@dataclass(slots=True)
class _Pool:
    http: httpx.AsyncClient
    num_users: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no answer: what to raise, whether asking again may help, how long the server says to wait."""

    error: ServerError
    is_retried: bool = True
    told_s: float | None = None


class Connection:
    """Requests to one server. `sleep` waits, `random` spreads the waiting."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        retry: Retry,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
    ) -> None:
        self._url, self._headers, self._retry = url, dict(headers), retry
        self._timeout_s, self._transport = timeout_s, transport
        self._sleep, self._random = sleep, random
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[httpx.AsyncClient]:
        """The event loop's pool; the last who leaves closes it."""
        http = self.enter()
        try:
            yield http
        finally:
            await self.leave()

    def enter(self) -> httpx.AsyncClient:
        """The event loop's pool, held until `leave`."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = _Pool(self._http())
        pool = self._pools[loop]
        pool.num_users += 1
        return pool.http

    async def leave(self) -> None:
        """Undo one `enter` of this event loop."""
        loop = asyncio.get_running_loop()
        pool = self._pools[loop]
        pool.num_users -= 1
        if not pool.num_users:
            del self._pools[loop]
            await pool.http.aclose()

    async def ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> bytes:
        """The body of the answer. Raises ServerError."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"idempotency-key": key} if key else {}
        attempt = 0
        async with self.opened() as http:
            while True:
                attempt += 1
                try:
                    answer = await http.request(method, path, content=content, headers=headers)
                except httpx.TransportError as error:
                    failure = self.lost(error)
                else:
                    if answer.is_success:
                        return answer.content
                    failure = refused(answer, answer.content)
                await self.wait(failure, attempt)

    async def wait(self, failure: Failure, attempt: int) -> None:
        """Wait until the next attempt. Raises the failure's error where there is to be none."""
        delay_s = self._retry.delay_s(attempt, failure.told_s, self._random()) if failure.is_retried else None
        if delay_s is None:
            raise failure.error from None
        level = logging.WARNING if attempt == TOLD_ATTEMPT else logging.DEBUG
        _LOG.log(level, "%s; asking again in %.1f s", failure.error, delay_s)
        await self._sleep(delay_s)

    def lost(self, error: httpx.TransportError) -> Failure:
        """The failure of a connection that could not be made, or broke."""
        text = str(error) or type(error).__name__
        return Failure(UnavailableError(f"no connection to {self._url}: {text}"))

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            transport=self._transport,
            timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_S, pool=None),
            limits=httpx.Limits(max_connections=None),
            verify=self._url.startswith("https:"),  # reading all certificates takes a while
        )


def refused(answer: httpx.Response, body: bytes) -> Failure:
    """The failure that an answer with an error's status is."""
    error = failure_of(answer.status_code, answer.headers, body)
    return Failure(error, is_retried(error.status, answer.headers, error.code), retry_after_s(answer.headers))
