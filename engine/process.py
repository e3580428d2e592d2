"""An engine process: one engine, stepped for the gateway at the other end of a Unix socket.

`python -m espalier.engine.process FD OPTIONS` takes the number of an inherited socket and the `EngineOptions` as JSON.
It says `Ready` or `Failed` once, then turns its loop until it is drained. It holds nothing worth saving, so it ends
whenever the socket does: a gateway that died, or one that stopped reading, leaves no orphan.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from espalier.engine.collector import settle_collector
from espalier.engine.errors import EngineDiedError, EngineError, OverloadedError
from espalier.engine.json_log import log_to_stderr
from espalier.engine.link import Link, LinkClosedError
from espalier.engine.messages import (
    Abort,
    Ahead,
    Beat,
    Drain,
    Drained,
    Failed,
    Forget,
    Fork,
    FromEngine,
    Generate,
    Hold,
    Output,
    Ready,
    Release,
    SamplingParams,
    SessionNote,
    Stats,
    StepOutputs,
    ToEngine,
)
from espalier.engine.options import EngineOptions
from espalier.engine.workshop import Preparation, Workshop

BEAT_S = 0.5
# How long a request that is being prepared may hold up the others at each step, and the socket while there are none.
TURN_S, IDLE_TURN_S = 0.002, 0.02
MOST_PREPARED = 64

_LOG = logging.getLogger("espalier.engine.process")


class StepEngine(Protocol):
    """What the loop needs of an engine: `engine.engine.Engine`, or `engine.scripted_engine.ScriptedEngine` in tests."""

    def preparation(self, request: Generate) -> Preparation | None:
        """What is to be done in short turns before a request is submitted; None if nothing."""
        ...

    def submit(self, request: Generate) -> None:
        """Take a request; raises EngineError if it can't be served."""
        ...

    def abort(self, request_id: str) -> None:
        """End a request, if it still runs: its slots are free, and the next step to return has its last output."""
        ...

    def note(self, note: SessionNote) -> None:
        """Heed what the gateway tells of a session."""
        ...

    def step(self, arrivals: Callable[[], None] | None = None) -> StepOutputs:
        """Compute one batch; `arrivals` is called before one is planned, be it the next one already."""
        ...

    def has_work(self) -> bool:
        """Whether a request runs or waits, or an output was not yet returned."""
        ...

    def expire(self) -> None:
        """End what is over, although nothing is computed."""
        ...

    def close(self) -> None:
        """Finish what is being written; nothing is asked of it afterwards."""
        ...

    def stats(self) -> Stats:
        """Gauges and totals now."""
        ...

    def ready(self) -> Ready:
        """What the engine says of itself."""
        ...


class EngineLoop:
    """Turns until drained: take messages, step, send; a beat whenever nothing else was sent for a while."""

    def __init__(self, engine: StepEngine, link: Link, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._link = link
        self._clock = clock
        self._sent_at = clock()
        self._is_draining = False
        self._workshop = Workshop()
        self._preparing: dict[str, Generate] = {}
        self._num_ahead = 0

    def run(self) -> None:
        """Say Ready, turn until a drain is asked and nothing is left to do, say Drained."""
        self._send(self._engine.ready())
        while not self._is_draining or self._preparing or self._engine.has_work():
            self._turn()
        self._engine.close()
        self._send(Drained())

    def drain(self) -> None:
        """Finish what was accepted and then end; safe to call from a signal handler."""
        self._is_draining = True

    def _turn(self) -> None:
        is_busy = self._workshop or self._engine.has_work()
        self._take_messages(0 if is_busy else BEAT_S)
        if self._workshop:
            self._prepare()
        if self._engine.has_work():
            step = self._engine.step(self._take_messages)
            if step.outputs or not self._engine.has_work():
                self._send(step)
        # Beats come from here and no thread, so that they stop when the loop does.
        if self._clock() - self._sent_at >= BEAT_S:
            self._engine.expire()
            self._send(Beat(self._engine.stats()))

    def _take_messages(self, wait_s: float = 0) -> None:
        for message in self._link.receive(wait_s):
            self._handle(message)

    def _handle(self, message: ToEngine) -> None:
        match message:
            case Generate():
                self._begin(message)
            case Abort(request_id=request_id):
                self._abort(request_id)
            case Drain():
                self.drain()
            case Hold() | Release() | Fork() | Forget():
                self._engine.note(message)
            case Ahead():
                self._compute_ahead(message)

    def _compute_ahead(self, ahead: Ahead) -> None:
        """As a request of one token that nobody reads: its outputs have an id that the gateway does not know."""
        if self._engine.stats().waiting or self._is_draining:
            return
        self._num_ahead += 1
        params = SamplingParams(max_tokens=1, temperature=0)
        name = f"ahead-{self._num_ahead}"
        self._submit(Generate(name, ahead.token_ids, params, ahead.tenant, ahead.cache_salt))

    def _begin(self, request: Generate) -> None:
        """Submit a request, at once or when it is prepared."""
        work = self._engine.preparation(request)
        if work is None or request.request_id in self._preparing:
            self._submit(request)
        elif len(self._workshop) >= MOST_PREPARED:
            busy = OverloadedError(f"{MOST_PREPARED} requests are being prepared; try again later")
            self._send(StepOutputs([_refusal(request.request_id, busy)], self._engine.stats()))
        else:
            self._preparing[request.request_id] = request
            self._workshop.add(request.request_id, work)

    def _prepare(self) -> None:
        """Go on preparing; submit the request whose preparation is done."""
        job = self._workshop.turn(TURN_S if self._engine.has_work() else IDLE_TURN_S)
        if job is None:
            return
        if job.failure is not None:
            _LOG.error("preparation_failed", extra={"request_id": job.name}, exc_info=job.failure)
        self._submit(self._preparing.pop(job.name))

    def _abort(self, request_id: str) -> None:
        if self._preparing.pop(request_id, None) is not None:
            self._workshop.drop(request_id)
            output = Output(request_id, finish_reason="abort")
            self._send(StepOutputs([output], self._engine.stats()))
        self._engine.abort(request_id)

    def _submit(self, request: Generate) -> None:
        """Give a request to the engine; one that it refuses ends alone."""
        try:
            if self._is_draining:
                raise EngineDiedError("the engine is ending")
            self._engine.submit(request)
        except EngineError as error:
            self._send(StepOutputs([_refusal(request.request_id, error)], self._engine.stats()))
        except Exception:
            _LOG.exception("submit_failed", extra={"request_id": request.request_id})
            unknown = EngineError("the engine could not take this request")
            self._send(StepOutputs([_refusal(request.request_id, unknown)], self._engine.stats()))

    def _send(self, message: FromEngine) -> None:
        self._link.send(message)
        self._sent_at = self._clock()


def main(arguments: Sequence[str], build: Callable[[EngineOptions], StepEngine] | None = None) -> int:
    """Run an engine process to its end; returns its exit status. `build` makes the engine, default the real one."""
    _end_with_parent()
    log_to_stderr()
    link = Link(socket.socket(fileno=int(arguments[0])))
    options = msgspec.json.decode(arguments[1], type=EngineOptions)
    try:
        engine = (build or _build)(options)
    except Exception as error:
        _LOG.exception("start_failed")
        link.send(_failed(error))
        return 1
    settle_collector()
    loop = EngineLoop(engine, link)
    signal.signal(signal.SIGTERM, lambda *_: loop.drain())
    try:
        loop.run()
    except LinkClosedError as error:
        _LOG.warning("link_closed", extra={"reason": str(error)})
    except Exception:
        _LOG.exception("loop_failed")
        return 1
    return 0


def _build(options: EngineOptions) -> StepEngine:
    if options.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read when torch is first imported, just below
    from espalier.engine.engine import Engine

    return Engine(options)


def _failed(error: Exception) -> Failed:
    if isinstance(error, EngineError):
        return Failed(error.code, str(error))
    return Failed(EngineError.code, f"the engine could not start: {type(error).__name__}: {error}")


def _refusal(request_id: str, error: EngineError) -> Output:
    return Output(
        request_id=request_id,
        finish_reason="error",
        error_code=error.code,
        error_message=str(error),
        error_param=getattr(error, "param", None),
        retriable=error.retriable,
    )


def _end_with_parent() -> None:
    """Ignore the terminal's Ctrl-C, which the gateway answers by a drain, and die with the gateway.

    While it steps the engine notices by the socket; the kernel's signal also covers a long load and a step that hangs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
