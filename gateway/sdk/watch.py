"""A run told as it happens: events as an async generator, and as a plain one for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import TypeAlias, TypeVar

from espalier.gateway.sdk.errors import DefinitionError
from espalier.gateway.sdk.event import Event

A = TypeVar("A")
T = TypeVar("T")

Emit: TypeAlias = Callable[[Event[A]], Awaitable[None]]

# A run waits for whoever watches it when so many events are not read.
MAX_UNREAD = 256


async def watched(start: Callable[[Emit[A]], Coroutine[object, object, object]]) -> AsyncGenerator[Event[A], None]:
    """The events that `start` emits, until it ends; what it raises is raised here. Closed, it is cancelled."""
    unread: asyncio.Queue[Event[A] | None] = asyncio.Queue(MAX_UNREAD)

    async def run() -> None:
        try:
            await start(unread.put)
        finally:
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                await unread.put(None)

    task = asyncio.create_task(run())
    try:
        while (event := await unread.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def in_own_loop(work: Coroutine[object, object, T]) -> T:
    """What `work` returns, in an event loop of its own. Raises DefinitionError where one is running."""
    _refuse_in_loop(work.close)
    return asyncio.run(work)


def stepped(events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """An async generator, step by step in an event loop of its own. Raises DefinitionError where one is running."""
    _refuse_in_loop(lambda: None)
    with asyncio.Runner() as runner:
        try:
            while True:
                try:
                    event = runner.run(_next(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            runner.run(events.aclose())


async def _next(events: AsyncGenerator[T, None]) -> T:
    return await anext(events)


def _refuse_in_loop(close: Callable[[], None]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    close()
    raise DefinitionError("an event loop is running here: use `await agent.run(...)` or `agent.stream(...)`")
