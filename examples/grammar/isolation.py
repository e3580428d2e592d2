"""Runs tasks in processes of their own, killed when silent for too long or when they take too much memory.

A task is a generator of messages. Processes are forked, so that each begins with everything imported and nothing
cached. Knows nothing of grammars.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

T = TypeVar("T")
M = TypeVar("M")
Work = Callable[[T], Iterator[M]]


@dataclass(slots=True)
class Run(Generic[T, M]):
    """A task, what it said, and how it ended if not well: `timeout`, `memory` or the exception's name."""

    task: T
    messages: list[M] = field(default_factory=list)
    ended: str | None = None
    detail: str = ""


@dataclass(slots=True)
class _Worker(Generic[T, M]):
    run: Run[T, M]
    process: BaseProcess
    deadline: float


def isolated(
    tasks: Iterable[T], work: Work[T, M], *, jobs: int, timeout_s: float, memory_bytes: int
) -> Iterator[Run[T, M]]:
    """Every task's run, as they end. `timeout_s` is the longest time between two messages."""
    waiting, running = iter(tasks), dict[Connection, _Worker[T, M]]()
    while True:
        while len(running) < jobs and (task := next(waiting, _NONE)) is not _NONE:
            connection, worker = _begin(task, work, memory_bytes)  # type: ignore[arg-type]
            worker.deadline = time.monotonic() + timeout_s
            running[connection] = worker
        if not running:
            return
        patience = max(0.0, min(worker.deadline for worker in running.values()) - time.monotonic())
        for connection in wait(list(running), timeout=patience):
            assert isinstance(connection, Connection)
            if _listen(connection, running[connection], timeout_s):
                yield _end(connection, running.pop(connection))
        for connection, worker in list(running.items()):
            if worker.deadline <= time.monotonic() and not connection.poll():
                worker.run.ended = "timeout"
                yield _end(connection, running.pop(connection))


_NONE = object()


def _begin(task: T, work: Work[T, M], memory_bytes: int) -> tuple[Connection, _Worker[T, M]]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, task, work, memory_bytes), daemon=True)
    process.start()
    theirs.close()
    return ours, _Worker(Run(task), process, 0.0)


def _work(connection: Connection, task: T, work: Work[T, M], memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    try:
        for message in work(task):
            connection.send(("message", message))
        connection.send(("done", ""))
    except MemoryError:
        connection.send(("memory", ""))
    except Exception as error:
        connection.send((type(error).__name__, _where(error)))


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}: " if trace is not None else ""
    return place + str(error)[:500]


def _listen(connection: Connection, worker: _Worker[T, M], timeout_s: float) -> bool:
    """Take one message; whether the run is over."""
    try:
        kind, content = connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.run.ended, worker.run.detail = "killed", f"exit code {worker.process.exitcode}"
        return True
    if kind == "message":
        worker.run.messages.append(content)
        worker.deadline = time.monotonic() + timeout_s
        return False
    if kind != "done":
        worker.run.ended, worker.run.detail = kind, content
    return True


def _end(connection: Connection, worker: _Worker[Any, Any]) -> Run[Any, Any]:
    worker.process.kill()
    worker.process.join()
    connection.close()
    finished: Run[Any, Any] = worker.run
    return finished
