"""Reading a request's body within bounds, and noticing that a client went away while its answer is made."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from espalier.gateway.edge import DisconnectedError
from espalier.gateway.errors import ApiError

T = TypeVar("T")

BODY_TIMEOUT_S = 30.0
"""A body has to arrive within this time, however slowly its bytes trickle."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body. Raises ApiError when it is too large, before it is buffered, or too slow."""
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise _too_slow() from None
    except ClientDisconnect:
        raise DisconnectedError from None
    return b"".join(chunks)


def _too_slow() -> ApiError:
    return ApiError(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s", headers={"connection": "close"})


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413, f"the body is larger than max_body_bytes, {max_bytes}", None, "body_too_large", {"connection": "close"}
    )


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, cancelled as soon as the client goes away. Raises DisconnectedError then. The body has been read."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DisconnectedError
        return task.result()
    finally:
        await _stop(watch)
        await _stop(task)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        # Its own ending matters, not what it would have returned.
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
