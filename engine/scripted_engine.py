"""A test double of the engine that says its prompt again: a token a step, slots counted, no model.

`python -m espalier.engine.scripted_engine FD OPTIONS` runs it as an engine process. Some token ids misbehave on
purpose, as does the model name `MISSING_MODEL`, so that supervision can be tested against real processes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from espalier.engine.errors import CheckpointError, RequestError
from espalier.engine.messages import FinishReason, Generate, Output, Ready, SessionNote, Stats, StepOutputs, Usage
from espalier.engine.options import EngineOptions
from espalier.engine.workshop import Pause, Preparation

VOCAB_SIZE = 1000
POISON_TOKEN = 666
HANG_TOKEN = 667
SLOW_TOKEN = 668
MISSING_MODEL = "missing"


class ScriptedEngine:
    """Echoes `token_ids` as decimal text, again and again where `max_tokens` asks for more than their number.

    A prompt with `POISON_TOKEN` makes a step raise, one with `HANG_TOKEN` makes it hang, and one with `SLOW_TOKEN` is
    never done preparing.
    """

    def __init__(self, options: EngineOptions) -> None:
        if options.model == MISSING_MODEL:
            raise CheckpointError(f"no checkpoint at {options.model!r}")
        self._options = options
        self._running: dict[str, tuple[Generate, int]] = {}
        self._aborted: list[str] = []
        self._step = 0

    def ready(self) -> Ready:
        """See `StepEngine.ready`."""
        return Ready("scripted", max_context=4096, vocab_size=VOCAB_SIZE, num_slots=2**20, max_running=256)

    def stats(self) -> Stats:
        """See `StepEngine.stats`."""
        used = sum(len(request.token_ids) + count for request, count in self._running.values())
        return Stats(step=self._step, running=len(self._running), slots_total=2**20, slots_used=used)

    def has_work(self) -> bool:
        """See `StepEngine.has_work`."""
        return bool(self._running or self._aborted)

    def preparation(self, request: Generate) -> Preparation | None:
        """See `StepEngine.preparation`."""
        return _prepare_forever if SLOW_TOKEN in request.token_ids else None

    def submit(self, request: Generate) -> None:
        """See `StepEngine.submit`."""
        if not request.token_ids:
            raise RequestError("a prompt needs at least one token", param="prompt")
        if max(request.token_ids) >= VOCAB_SIZE:
            raise RequestError(f"token ids must be under {VOCAB_SIZE}", param="prompt")
        self._running[request.request_id] = (request, 0)

    def abort(self, request_id: str) -> None:
        """See `StepEngine.abort`."""
        if self._running.pop(request_id, None) is not None:
            self._aborted.append(request_id)

    def note(self, note: SessionNote) -> None:
        """See `StepEngine.note`; it holds nothing between requests."""

    def expire(self) -> None:
        """See `StepEngine.expire`; it keeps nothing."""

    def close(self) -> None:
        """See `StepEngine.close`; it writes nothing."""

    def step(self, arrivals: Callable[[], None] | None = None) -> StepOutputs:
        """See `StepEngine.step`."""
        if arrivals is not None:
            arrivals()
        self._step += 1
        outputs = [Output(request_id=request_id, finish_reason="abort") for request_id in self._aborted]
        self._aborted.clear()
        outputs += [self._next(request, count) for request, count in list(self._running.values())]
        return StepOutputs(outputs, self.stats())

    def _next(self, request: Generate, count: int) -> Output:
        if POISON_TOKEN in request.token_ids:
            raise RuntimeError("a poisoned prompt")
        if HANG_TOKEN in request.token_ids:
            threading.Event().wait()
        token_id = request.token_ids[count % len(request.token_ids)]
        limit = request.params.max_tokens or len(request.token_ids)
        reason: FinishReason | None = "length" if count + 1 == limit else None
        self._running[request.request_id] = (request, count + 1)
        if reason is not None:
            del self._running[request.request_id]
        usage = Usage(prompt_tokens=len(request.token_ids), completion_tokens=count + 1)
        return Output(request.request_id, f"{token_id} ", [token_id], finish_reason=reason, usage=usage)


def _prepare_forever(pause: Pause) -> None:
    while True:
        pause()


if __name__ == "__main__":
    from espalier.engine import process

    sys.exit(process.main(sys.argv[1:], ScriptedEngine))
