"""What the routes share: the engine, the prompter, the model's name and defaults, and how answers are gathered.

A request for n answers is n requests to the engine with seeds one apart; the prefix tree computes their prompt once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from espalier.engine.errors import EngineError, RequestError
from espalier.engine.messages import Ahead, Generate, Output, Ready, Retention, SamplingParams
from espalier.engine.messages import Usage as EngineUsage
from espalier.engine.sampling_params import check
from espalier.gateway.answer_check import AnswerCheck
from espalier.gateway.answer_event import AnswerEvent, CallBegun, Finished
from espalier.gateway.answer_text import Gathered
from espalier.gateway.deadline import Deadline
from espalier.gateway.engine_client import EngineClient, UnavailableError, new_request_id
from espalier.gateway.errors import ApiError
from espalier.gateway.live_turn import LiveTurns
from espalier.gateway.log import Log
from espalier.gateway.metrics import Metrics
from espalier.gateway.options import GatewayOptions
from espalier.gateway.prompt_cache import NO_WISH, PromptCache
from espalier.gateway.prompter import Prompt, Prompter, Room
from espalier.gateway.sampling import Defaults
from espalier.gateway.session_lease import hold_group
from espalier.gateway.turn import Turn
from espalier.gateway.turn_service import TurnService
from espalier.gateway.wire.answers import CompletionDetails, Coverage, PromptDetails, Usage
from espalier.sessions import Path, Sessions

_LOG = Log("service")


class Part(NamedTuple):
    """An output of the choice at this index."""

    at: int
    output: Output


class Told(NamedTuple):
    """An event of the choice at this index, its tokens so far, and the ids that came since the event before."""

    at: int
    event: AnswerEvent
    usage: EngineUsage
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt, and how many answers of it are wanted; their indices start at `first_index`.

    `constraint_field` is the request's field that a constraint came from, for errors. `check` validates the answers
    again. `session` is what the engine calls the session whose next turn this is, or where it `is_group` those whose
    requests begin alike; `retention` is what may become of the state.
    """

    token_ids: list[int]
    params: SamplingParams
    n: int
    first_index: int = 0
    tenant: str = ""
    cache_salt: str = ""
    constraint_field: str | None = None
    check: AnswerCheck | None = None
    session: str = ""
    is_group: bool = False
    retention: Retention = field(default_factory=Retention)

    def requests(self) -> list[Generate]:
        """The engine's requests, one for each answer."""
        return [
            Generate(
                new_request_id(),
                self.token_ids,
                _with_seed(self.params, index),
                self.tenant,
                self.cache_salt,
                self.session,
                self.is_group,
                self.retention,
            )
            for index in range(self.n)
        ]


def _with_seed(params: SamplingParams, index: int) -> SamplingParams:
    if params.seed is None or not index:
        return params
    return msgspec.structs.replace(params, seed=params.seed + index)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn that is ready to be answered, and what of its schemas is enforced (None: it has none).

    `left_len` is the length of the context of the branch that this turn leaves, where its client's history differs.
    """

    job: Job
    prompt: Prompt
    coverage: Coverage | None = None
    left_len: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """See the module."""

    client: EngineClient
    prompter: Prompter
    turns: TurnService
    model: str
    defaults: Defaults
    options: GatewayOptions
    metrics: Metrics
    created: int
    clock: Callable[[], float] = time.time
    sessions: Sessions | None = None
    live: LiveTurns = field(default_factory=LiveTurns)

    def ready(self) -> Ready:
        """What the engine said of itself. Raises UnavailableError while there is none."""
        if (ready := self.client.ready) is None:
            raise UnavailableError("the engine is not ready")
        return ready

    def check_model(self, name: str | None) -> None:
        """Raise a 404 for a model that is not the one served."""
        if name is not None and name != self.model:
            raise ApiError(
                404, f"the model {name[:256]!r} does not exist; {self.model!r} is served", "model", "model_not_found"
            )

    async def prepare(
        self,
        turn: Turn,
        params: SamplingParams,
        *,
        n: int = 1,
        tenant: str = "",
        cache_salt: str = "",
        prompt_cache: PromptCache = NO_WISH,
        history: Path | None = None,
    ) -> Prepared:
        """Check, render and constrain a turn. Raises ApiError or EngineError; nothing has been generated then.

        `history` is the path that the turn continues; its messages stand at the beginning of the turn's.
        """
        ready = self.ready()
        check(params, ready.vocab_size)
        room = Room(ready.max_context, params.max_tokens, turn.truncates)
        planned = await self.turns.plan(turn, params, room, tenant=tenant, history=history)
        field = turn.answer_where if turn.answer is not None else "tools"
        job = Job(
            planned.prompt.token_ids,
            planned.params,
            n,
            tenant=tenant,
            cache_salt=cache_salt,
            constraint_field=field if planned.coverage is not None else None,
            check=planned.check,
            session=(group := prompt_cache.group(tenant)),
            is_group=bool(group),
            retention=prompt_cache.wanted,
        )
        return Prepared(job, planned.prompt, planned.coverage)

    async def answer_events(self, jobs: list[Job]) -> AsyncGenerator[Told, None]:
        """What the answers of prepared turns are made of, as it comes, the first event of index 0.

        Closing it aborts what still runs.
        """
        readers = {job.first_index + at: self.turns.reader(job.params) for job in jobs for at in range(job.n)}
        untold: dict[int, list[int]] = {at: [] for at in readers}
        checks = {job.first_index + at: (job.check, Gathered()) for job in jobs for at in range(job.n) if job.check}
        said: list[int] = []
        called: list[str] = []
        async with aclosing(self.stream(jobs)) as parts:
            async for at, output in parts:
                untold[at] += output.token_ids
                said += output.token_ids
                for event in readers[at].read(output):
                    if at in checks:
                        _check(event, *checks[at])
                    if isinstance(event, CallBegun):
                        called.append(event.name)
                    if len(readers) == 1 and isinstance(event, Finished) and event.reason == "tool_calls":
                        self._await_results(jobs[0], said, called)
                    yield Told(at, event, readers[at].usage(output), tuple(untold[at]))
                    untold[at] = []

    def _await_results(self, job: Job, answer_ids: list[int], called: list[str]) -> None:
        """Have computed what the next prompt begins with, while the tools run, and a group's state held.

        A session's is held when its turn is stored.
        """
        if job.is_group:
            hold_group(self.client, self.sessions, job.tenant, job.session, called)
        token_ids, ready = self.turns.ahead(job.token_ids, answer_ids), self.client.ready
        if token_ids is not None and ready is not None and len(token_ids) < ready.max_context:
            self.client.note(Ahead(token_ids, job.tenant, job.cache_salt))

    async def stream(self, jobs: list[Job]) -> AsyncGenerator[Part, None]:
        """All outputs of the jobs as they come, the first one of index 0. Closing it aborts what still runs."""
        requests = [(job, job.first_index + at, one) for job in jobs for at, one in enumerate(job.requests())]
        if len(requests) == 1:
            async with aclosing(self._one(*requests[0])) as parts:
                async for part in parts:
                    yield part
            return
        async with aclosing(self._merged(requests)) as parts:
            early: list[Part] = []
            async for part in parts:
                if part.at != 0:
                    early.append(part)
                    continue
                yield part
                break
            for part in early:
                yield part
            async for part in parts:
                yield part

    async def _one(self, job: Job, index: int, request: Generate) -> AsyncGenerator[Part, None]:
        limit_s = self.options.request_timeout_s
        # The line that joins the client's label with the id that the engine writes.
        _LOG.debug("request_begins", engine_request_id=request.request_id, prompt_tokens=len(request.token_ids))
        try:
            async with (
                Deadline(self.client, request.request_id, limit_s) as deadline,
                aclosing(self.client.generate(request)) as outputs,
            ):
                async for output in outputs:
                    if output.finish_reason is not None:
                        self.metrics.record(output)
                    if output.finish_reason == "abort":
                        raise _late(limit_s) if deadline.has_passed else _aborted()
                    yield Part(index, output)
        except RequestError as error:
            self.metrics.failed(error.code)
            raise _named(error, job) from error
        except EngineError as error:
            self.metrics.failed(error.code)
            raise

    async def _merged(self, requests: list[tuple[Job, int, Generate]]) -> AsyncGenerator[Part, None]:
        queue: asyncio.Queue[Part | BaseException | None] = asyncio.Queue(maxsize=len(requests))

        async def pump(job: Job, index: int, request: Generate) -> None:
            try:
                async with aclosing(self._one(job, index, request)) as parts:
                    async for part in parts:
                        await queue.put(part)
                await queue.put(None)
            except (EngineError, ApiError) as error:
                await queue.put(error)

        tasks = [asyncio.create_task(pump(*request)) for request in requests]
        try:
            left = len(tasks)
            while left:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _check(event: AnswerEvent, check: AnswerCheck, whole: Gathered) -> None:
    """Validate a whole answer before its end is told."""
    whole.add(event)
    if isinstance(event, Finished):
        check.check(whole)


def _named(error: RequestError, job: Job) -> RequestError:
    """The error with the request's own name for what the engine calls the constraint."""
    is_ours = error.param == "constraint" and job.constraint_field is not None
    return RequestError(str(error), param=job.constraint_field) if is_ours else error


def _late(limit_s: float) -> ApiError:
    # Not 408, which clients send again: the same request would be as slow.
    message = f"the answer took longer than request_timeout_s, {limit_s:g} s; ask for fewer tokens"
    return ApiError(504, message, code="request_timeout", headers={"x-should-retry": "false"})


def _aborted() -> ApiError:
    return ApiError(503, "the request was aborted by the server", code="aborted", headers={"retry-after": "1"})


def total_usage(jobs: list[Job], latest: dict[int, EngineUsage]) -> Usage:
    """Usage of all answers together: each prompt counts once, as OpenAI counts it."""
    prompt = sum(len(job.token_ids) for job in jobs)
    cached = sum(latest[job.first_index].cached_tokens for job in jobs if job.first_index in latest)
    written = sum(latest[job.first_index].written_tokens for job in jobs if job.first_index in latest)
    completion = sum(usage.completion_tokens for usage in latest.values())
    reasoning = sum(usage.reasoning_tokens for usage in latest.values())
    details = CompletionDetails(reasoning_tokens=reasoning)
    return Usage(prompt, completion, prompt + completion, PromptDetails(cached, 0, written), details)
