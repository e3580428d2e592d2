"""A test double of `EngineClient` that answers without a model: what each request gets is a function of the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from espalier.engine.errors import RequestError
from espalier.engine.messages import Ahead, FinishReason, Generate, Output, Ready, SessionNote, Stats, Usage
from espalier.gateway.engine_client import DrainingError, UnavailableError

Script = Callable[[Generate], Iterable[Output | Exception]]

READY = Ready(model="scripted", max_context=4096, vocab_size=1024, num_slots=65536, max_running=256)


def answer(
    texts: Sequence[str], *, finish_reason: FinishReason = "stop", cached_tokens: int = 0, written_tokens: int = 0
) -> Script:
    """A script that says `texts`, one output and one token each (ids count up from 0), and finishes with the last."""

    def script(request: Generate) -> Iterable[Output | Exception]:
        limit = len(texts) if request.params.max_tokens is None else min(len(texts), request.params.max_tokens)
        for number, text in enumerate(texts[:limit]):
            last = number == limit - 1
            reason: FinishReason = finish_reason if limit == len(texts) else "length"
            yield Output(
                request_id=request.request_id,
                text=text,
                token_ids=[number],
                finish_reason=reason if last else None,
                usage=Usage(len(request.token_ids), cached_tokens, number + 1, written_tokens=written_tokens),
            )

    return script


def echo(request: Generate) -> Iterable[Output | Exception]:
    """A script that says the prompt's token ids as decimal text, one token a step, until `max_tokens`."""
    return answer([f"{token_id} " for token_id in request.token_ids])(request)


class ScriptedClient:
    """Plays a script for each request; yields to the event loop between outputs, waits for `gate` where one is given.

    An exception in a script is raised from there. `requests` holds what was asked, `notes` what was told of sessions,
    `aborted` the ids that ended early.
    """

    def __init__(
        self, script: Script = echo, *, ready: Ready | None = READY, gate: asyncio.Semaphore | None = None
    ) -> None:
        self._script = script
        self._gate = gate
        self._running: dict[str, asyncio.Event] = {}
        self._aborting: set[str] = set()
        self.ready = ready
        self.stats = Stats()
        self.is_alive = True
        self.is_draining = False
        self.requests: list[Generate] = []
        self.notes: list[SessionNote] = []
        self.ahead: list[Ahead] = []
        self.aborted: list[str] = []

    async def generate(self, request: Generate) -> AsyncGenerator[Output, None]:
        """See `EngineClient.generate`."""
        self._check(request)
        self.requests.append(request)
        self._running[request.request_id] = asyncio.Event()
        finished = False
        try:
            for item in self._script(request):
                await self._turn()
                if isinstance(item, Exception):
                    finished = True
                    raise item
                if request.request_id in self._aborting:
                    item = Output(request_id=request.request_id, finish_reason="abort", usage=item.usage)
                finished = item.finish_reason is not None
                yield item
                if finished:
                    return
        finally:
            if not finished or request.request_id in self._aborting:
                self.aborted.append(request.request_id)
            self._aborting.discard(request.request_id)
            self._running.pop(request.request_id).set()

    async def abort(self, request_id: str) -> None:
        """See `EngineClient.abort`."""
        if (ended := self._running.get(request_id)) is not None:
            self._aborting.add(request_id)
            await ended.wait()

    def note(self, note: SessionNote) -> None:
        """See `EngineClient.note`."""
        if isinstance(note, Ahead):
            self.ahead.append(note)
        else:
            self.notes.append(note)

    async def drain(self, timeout_s: float) -> None:
        """See `EngineClient.drain`."""
        self.is_draining, self.ready = True, None
        endings = [asyncio.ensure_future(event.wait()) for event in self._running.values()]
        if endings:
            _, late = await asyncio.wait(endings, timeout=timeout_s)
            self._aborting.update(self._running)
            if late:
                await asyncio.wait(late)

    def _check(self, request: Generate) -> None:
        if self.is_draining:
            raise DrainingError("the server is shutting down")
        if self.ready is None:
            raise UnavailableError("the engine is restarting")
        if request.request_id in self._running:
            raise RequestError(f"request id {request.request_id!r} is running already", param="request_id")

    async def _turn(self) -> None:
        if self._gate is None:
            await asyncio.sleep(0)
        else:
            await self._gate.acquire()
