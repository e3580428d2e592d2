"""The agent's loop: `step()` is `execute(query())`, until a way to stop is raised.

What happened is told to the journal before it is acted on, and to `emit` for whoever watches. A loop that begins with
the records of an unfinished run goes on exactly where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Generic, TypeVar, cast

from msgspec.structs import replace

from espalier.gateway.sdk.answer import AnswerShape
from espalier.gateway.sdk.call import Call, ToolResult
from espalier.gateway.sdk.errors import RefusedError, ShapeError
from espalier.gateway.sdk.event import (
    CallReady,
    Event,
    Replied,
    RunEnded,
    ToolFinished,
    ToolStarted,
    TurnRestarted,
    TurnStarted,
)
from espalier.gateway.sdk.journal import CallBegan, CallDone, Corrected, Ended, Journal, Record, TurnDone
from espalier.gateway.sdk.limit import Seconds, reached
from espalier.gateway.sdk.message import user
from espalier.gateway.sdk.model import Query
from espalier.gateway.sdk.progress import Progress
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.run import Run
from espalier.gateway.sdk.setup import Setup
from espalier.gateway.sdk.stop import AnswerCut, Answered, AnswerFiltered, AnswerUnfit, LimitReached, Stop
from espalier.gateway.sdk.toolbox import unknown
from espalier.gateway.sdk.trace import Trace, tell_reply, tell_result, tell_run

A = TypeVar("A")
T = TypeVar("T")

_CUTS: dict[str, type[Stop]] = {"length": AnswerCut, "content_filter": AnswerFiltered}

_CHANGED = "The run began with other tools, settings or another type of answer: go on with those, or abandon it."


class Loop(Generic[A]):
    """One run, from the journal's records of it to its end."""

    def __init__(
        self,
        setup: Setup,
        shape: AnswerShape[A],
        journal: Journal,
        session_id: str | None = None,
        emit: Callable[[Event[A]], Awaitable[None]] | None = None,
    ) -> None:
        self._setup, self._shape, self._journal, self._session_id = setup, shape, journal, session_id
        self._emit = emit
        self._progress = Progress(journal.records)
        self._early: dict[str, asyncio.Task[ToolResult]] = {}
        self._began_at = setup.clock()
        self._trace = Trace(setup.tracer, agent=setup.name, session_id=session_id, model=setup.settings.model)

    async def run(self) -> Run[A]:
        """Step until there is an answer. Raises Stop, ServerError, StreamError, and what a hook raises."""
        with self._trace.run() as span:
            try:
                await self._until_stop()
            except Answered as stop:
                run = cast(Run[A], stop.run)
                tell_run(span, stop.run)
                self._note(Ended("Answered"))
                await self._tell(RunEnded(run))
                return run
            except Stop as stop:
                tell_run(span, stop.run)
                if not isinstance(stop, LimitReached):  # with more room the run can be gone on with
                    self._note(Ended(type(stop).__name__))
                raise
            except RefusedError as error:
                if error.code == "idempotency_conflict":
                    error.add_note(_CHANGED)
                if not self._progress.turns:  # nothing has happened that a next run would have to know of
                    self._note(Ended("RefusedError"))
                raise
            finally:
                await self._end_early()
        raise AssertionError("the loop ends by a stop only")

    async def step(self) -> None:
        """One turn: ask the model, do what it asks for. Raises Stop."""
        await self.execute(await self.query())

    async def query(self) -> Reply:
        """Ask for the next turn; its reply is journaled when this returns.

        Raises LimitReached, ServerError, StreamError.
        """
        self._check_limits()
        await self._tell(TurnStarted(self._progress.turns + 1))
        with self._trace.turn() as span:
            async with aclosing(self._setup.model.stream(self._query())) as events:
                async for event in events:
                    if isinstance(event, Replied):
                        event = Replied(self._priced(event.reply))
                        self._note(TurnDone(event.reply))
                        tell_reply(span, event.reply)
                    elif isinstance(event, CallReady):
                        self._start_early(event)
                    elif isinstance(event, TurnRestarted):
                        await self._end_early()
                    await self._tell(event)
        assert self._progress.reply is not None, "a model's stream ends with its reply"
        return self._progress.reply

    async def execute(self, reply: Reply) -> None:
        """Do what a reply asks for: its calls, side by side, or to end. Raises Stop."""
        if cut := _CUTS.get(reply.finish_reason):
            raise cut(f"the answer is not whole (finish_reason {reply.finish_reason!r})", self._so_far(reply.text))
        if not reply.calls:
            self._answer(reply)
            return
        await side_by_side(self._result(call) for call in self._progress.calls())
        self._progress.close_turn()

    async def _until_stop(self) -> None:
        seconds = next((limit for limit in self._setup.limits if isinstance(limit, Seconds)), None)
        try:
            async with asyncio.timeout(seconds.most if seconds else None) as timeout:
                if self._progress.reply is not None:
                    await self.execute(self._progress.reply)
                while True:
                    await self.step()
        except TimeoutError:
            if seconds is None or not timeout.expired():
                raise
            raise reached(seconds, self._so_far()) from None

    def _query(self) -> Query:
        progress = self._progress
        start = progress.num_sent if self._session_id else 0
        return Query(
            key=f"{progress.run_id}-{progress.turns + 1}",
            messages=tuple(progress.messages[start:]),
            tools=self._setup.toolbox.specs,
            answer=self._shape.format,
            settings=self._setup.settings if not progress.turns else self._setup.later_settings(),
            session_id=self._session_id,
            head=progress.head,
        )

    def _answer(self, reply: Reply) -> None:
        """Stop with the answer, or tell the model why it is none."""
        try:
            answer = self._shape.decode(reply.text)
        except ShapeError as error:
            if self._progress.num_corrections >= self._setup.corrections:
                raise AnswerUnfit(f"the answer does not fit its type: {error}", self._so_far(reply.text)) from None
            self._note(Corrected(user(f"error: the answer does not fit: {error}. Answer again.")))
            return
        raise Answered("the model answered", self._so_far(answer))

    async def _result(self, call: Call) -> ToolResult:
        """The result of a call: recorded, found out to be unknown, or made now; recorded in any case."""
        if (known := self._progress.result(call)) is not None:
            return known
        spec = self._setup.toolbox.spec(call.name)
        if (early := self._early.pop(call.key, None)) is not None:
            result = await early
        elif self._progress.is_begun(call) and (spec is None or spec.effect == "once"):
            result = unknown(call)
        else:
            result = await self._do(call, is_journaled=spec is not None and spec.effect != "none")
        self._note(CallDone(call.key, result.content, result.outcome))
        await self._tell(ToolFinished(result))
        return result

    async def _do(self, call: Call, *, is_journaled: bool) -> ToolResult:
        if (instead := await self._setup.hooks.before_call(call)) is not None:
            return ToolResult(call, instead, "refused")
        if is_journaled and not self._progress.is_begun(call):
            self._note(CallBegan(call.key))
        await self._tell(ToolStarted(call))
        with self._trace.call(call) as span:
            result = await self._setup.toolbox.execute(call)
            tell_result(span, result)
        return result

    def _start_early(self, ready: CallReady) -> None:
        """Start what changes nothing while the turn goes on; all else waits until the turn is acknowledged."""
        spec = self._setup.toolbox.spec(ready.name)
        if spec is not None and spec.effect == "none":
            turn = self._progress.turns + 1
            call = self._progress.call(turn, ready.index, ready.id, ready.name, ready.arguments)
            self._early[call.key] = asyncio.ensure_future(self._do(call, is_journaled=False))

    async def _end_early(self) -> None:
        tasks = list(self._early.values())
        self._early.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check_limits(self) -> None:
        for limit in self._setup.limits:
            if limit.is_reached(run := self._so_far()):
                raise reached(limit, run)

    def _priced(self, reply: Reply) -> Reply:
        price = self._setup.price
        if price is None or reply.usage.cost is not None:
            return reply
        return replace(reply, usage=replace(reply.usage, cost=price.of(reply.usage)))

    def _so_far(self, answer: object = "") -> Run[object]:
        progress = self._progress
        elapsed_s = self._setup.clock() - self._began_at
        return Run(answer, progress.run_id, tuple(progress.messages), progress.turns, progress.usage, elapsed_s)

    def _note(self, record: Record) -> None:
        self._journal.write(record)
        self._progress.add(record)

    async def _tell(self, event: Event[A]) -> None:
        await self._setup.hooks.on_event(cast(Event[object], event))
        if self._emit is not None:
            await self._emit(event)


async def side_by_side(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """All results in order; the first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
