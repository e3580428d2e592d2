"""A supervised engine process: spawned, restarted when it dies, asked through `EngineClient`.

A replica is loading, serving, waiting to restart, or ending. A request belongs to one life of the process: when that
ends, by a crash, a kill or a hang, its requests get `EngineDiedError`, and the next life knows nothing of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

import anyio

from espalier.engine.errors import EngineDiedError, EngineError, FrameError, RequestError
from espalier.engine.frames import encode
from espalier.engine.messages import (
    Abort,
    Beat,
    Drain,
    Drained,
    Failed,
    FromEngine,
    Generate,
    Output,
    Ready,
    SessionNote,
    Stats,
    StepOutputs,
)
from espalier.engine.options import EngineOptions
from espalier.gateway.child import ENGINE_COMMAND, EngineChild
from espalier.gateway.engine_client import DrainingError, UnavailableError, error_from
from espalier.gateway.liveness import Patience, Progress
from espalier.gateway.log import Log
from espalier.gateway.mailbox import Mailbox, Mailboxes

_LOG = Log("replica")


class Replica:
    """One engine process and its restarts; an `EngineClient`. Use it as `async with Replica(options) as replica`."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        command: Sequence[str] = ENGINE_COMMAND,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._command = command
        self._patience = patience or Patience()
        self._clock = clock
        self._boxes = Mailboxes()
        self._child: EngineChild | None = None
        self._ready: Ready | None = None
        self._stats = Stats()
        self._progress = Progress(clock())
        self._failure: EngineError | None = None
        self._restart_at = self._load_s = 0.0
        self._is_draining = False
        self.restarts = 0
        self._settled = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Ready:
        """Start the engine and wait until its model is loaded, however long that takes.

        Raises EngineError if it can't start: the engine's own (CheckpointError, DoesNotFitError, ...), or
        EngineDiedError if it gave no reason.
        """
        self._task = asyncio.create_task(self._supervise(), name="replica")
        try:
            await self._settled.wait()
        finally:
            if self._ready is None:
                with anyio.CancelScope(shield=True):
                    await self._end()
        if self._ready is None:
            raise self._failure or EngineDiedError("the engine was ended before it was ready")
        return self._ready

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.drain(0)

    @property
    def ready(self) -> Ready | None:
        """See `EngineClient.ready`."""
        return None if self._is_draining else self._ready

    @property
    def stats(self) -> Stats:
        """See `EngineClient.stats`; totals start again from zero when the engine does."""
        return self._stats

    @property
    def is_alive(self) -> bool:
        """See `EngineClient.is_alive`."""
        if self._task is None or self._task.done():
            return False
        return self._ready is None or self._progress.stalled_s(self._clock()) < self._patience.stall_s

    @property
    def pid(self) -> int | None:
        """Process id of the engine, None between two lives."""
        return self._child.pid if self._child else None

    async def generate(self, request: Generate) -> AsyncGenerator[Output, None]:
        """See `EngineClient.generate`."""
        child, box = self._submit(request)
        try:
            await child.flush()
            while True:
                output = await box.take()
                yield output
                if output.finish_reason is not None:
                    return
        finally:
            if not box.is_finished:
                child.send(Abort(request.request_id))
                # Shielded: whoever cancelled us must not think the slots free before they are.
                with anyio.move_on_after(self._patience.stall_s, shield=True):
                    await box.finished()

    async def abort(self, request_id: str) -> None:
        """See `EngineClient.abort`."""
        box = self._boxes.get(request_id)
        if box is not None and self._child is not None:
            self._child.send(Abort(request_id))
            await box.finished()

    def note(self, note: SessionNote) -> None:
        """See `EngineClient.note`."""
        if self._child is not None and self._ready is not None:
            self._child.send(note)

    async def drain(self, timeout_s: float) -> None:
        """See `EngineClient.drain`; returns once the process is gone."""
        self._is_draining = True
        child, task = self._child, self._task
        if child is not None and task is not None and self._ready is not None:
            _LOG.info("engine_draining", running=len(self._boxes), timeout_s=timeout_s)
            child.send(Drain())
            with anyio.move_on_after(timeout_s):
                await self._boxes.all_finished()
            for request_id in self._boxes.ids():
                child.send(Abort(request_id))
            await asyncio.wait({task}, timeout=self._patience.grace_s)
        await self._end()

    def _submit(self, request: Generate) -> tuple[EngineChild, Mailbox]:
        if self._is_draining:
            raise DrainingError("the server is shutting down", retry_after_s=self._patience.last_restart_s)
        if self._child is None or self._ready is None:
            wait_s = max(1.0, self._restart_at - self._clock() + self._load_s)
            raise UnavailableError("the engine is restarting", retry_after_s=wait_s)
        try:
            frame = encode(request)
        except FrameError as error:
            raise RequestError(f"the request is too large: {error}") from error
        box = self._boxes.open(request.request_id)
        self._child.write(frame)
        return self._child, box

    async def _end(self) -> None:
        """End the process and the supervision, from any state."""
        self._ending.set()
        if self._child is not None:
            self._child.kill()
        if self._task is not None:
            await self._task

    async def _supervise(self) -> None:
        """Live one life after another until told to end, or until the first can't start."""
        failures = 0
        try:
            while True:
                served_s = await self._live()
                if not self._settled.is_set() or self._is_draining or self._ending.is_set():
                    return
                failures = 1 if served_s >= self._patience.healthy_s else failures + 1
                await self._wait_to_restart(self._patience.restart_delay_s(failures))
        except Exception as error:
            _LOG.error("supervision_failed", error=error)
            raise
        finally:
            self._settled.set()

    async def _wait_to_restart(self, delay_s: float) -> None:
        self.restarts += 1
        self._restart_at = self._clock() + delay_s
        _LOG.info("engine_restarts", delay_s=delay_s)
        with anyio.move_on_after(delay_s):
            await self._ending.wait()

    async def _live(self) -> float:
        """One life of the process, from spawn to end; returns for how many seconds it served."""
        self._failure = None
        started_at = self._clock()
        try:
            child = self._child = await EngineChild.spawn(self._options, self._command)
        except OSError as error:
            self._failure = EngineDiedError(f"the engine process can't be made: {error}")
            _LOG.error("engine_not_made", error=error)
            return 0.0
        _LOG.info("engine_starts", pid=child.pid, model=self._options.model)
        served_from = self._clock()
        if self._ending.is_set():
            child.kill()
        try:
            if await self._load(child, started_at):
                served_from = self._clock()
                await self._serve(child)
        except FrameError as error:
            _LOG.error("engine_garbled", error=error)
            child.kill()
        finally:
            await self._bury(child)
        return self._clock() - served_from

    async def _load(self, child: EngineChild, started_at: float) -> bool:
        """Wait for Ready; False if the process fails or ends before."""
        while (messages := await child.receive(self._patience.loading_log_s)) is None:
            _LOG.info("engine_loads", elapsed_s=round(self._clock() - started_at, 1))
        match messages:
            case [Ready() as ready, *rest]:
                self._begin(ready, started_at)
                self._dispatch(rest)
                return True
            case [Failed(code=code, message=message), *_]:
                self._failure = error_from(code, message)
                _LOG.error("engine_failed", code=code, reason=message)
        return False

    def _begin(self, ready: Ready, started_at: float) -> None:
        now = self._clock()
        self._load_s, self._progress, self._ready = now - started_at, Progress(now), ready
        self._settled.set()
        fit = {row.name: row.value for row in ready.fit}
        _LOG.info("engine_ready", model=ready.model, load_s=round(self._load_s, 3), num_slots=ready.num_slots, fit=fit)

    async def _serve(self, child: EngineChild) -> None:
        """Hand out what the process says until it ends, or hangs for so long that it must."""
        while (messages := await child.receive(self._patience.stall_s)) != []:
            self._dispatch(messages or [])
            if self._progress.stalled_s(self._clock()) >= self._patience.kill_s:
                _LOG.error("engine_hangs", stalled_s=self._patience.kill_s)
                child.kill()
                return

    def _dispatch(self, messages: Sequence[FromEngine]) -> None:
        for message in messages:
            match message:
                case StepOutputs(outputs=outputs, stats=stats):
                    self._note(stats)
                    self._boxes.deliver(outputs)
                case Beat(stats=stats):
                    self._note(stats)
                case Drained():
                    _LOG.info("engine_drained")

    def _note(self, stats: Stats) -> None:
        self._stats = stats
        self._progress.note(stats, self._clock())

    async def _bury(self, child: EngineChild) -> None:
        """Fail what ran, and wait for the process to be gone."""
        self._ready, self._stats = None, Stats()
        failed = self._boxes.fail_all(
            lambda: EngineDiedError("the engine ended while this request ran; it may be sent again")
        )
        how = await child.end(self._patience.grace_s)
        self._child = None
        (_LOG.info if self._is_draining else _LOG.warning)("engine_ended", pid=child.pid, how=how, failed=failed)
        if not self._settled.is_set() and self._failure is None:
            self._failure = EngineDiedError(f"the engine process ended ({how}) before it was ready; its log says why")
