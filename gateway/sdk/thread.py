"""Runs a function in a thread of its own, so that one that never returns holds up nothing, not even the end.

The threads of an event loop's pool are awaited when the loop closes; these are not.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """What `function` returns or raises, with the caller's context variables. Cancelled, it leaves the thread alone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def tell(set_it: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it())
        except RuntimeError:  # the loop has closed: nobody waits any more
            return

    def run() -> None:
        try:
            value = context.run(function)
        except StopIteration as error:  # a future can't hold one
            failure: BaseException = RuntimeError(f"the function raised StopIteration: {error}")
        except BaseException as error:
            failure = error
        else:
            tell(lambda: future.set_result(value))
            return
        tell(lambda: future.set_exception(failure))

    threading.Thread(target=run, name="espalier tool", daemon=True).start()
    return await future
