"""What the routes share: the engine, the prompter, the model's name and defaults, and how answers are gathered.

A request for n answers is n requests to the engine with seeds one apart; the prefix tree computes their prompt once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from espalier.engine.errors import EngineError
from espalier.engine.messages import Generate, Output, Ready, SamplingParams
from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway.deadline import Deadline
from espalier.gateway.engine_client import EngineClient, UnavailableError, new_request_id
from espalier.gateway.errors import ApiError
from espalier.gateway.log import Log
from espalier.gateway.metrics import Metrics
from espalier.gateway.options import GatewayOptions
from espalier.gateway.prompter import Prompter
from espalier.gateway.sampling import Defaults
from espalier.gateway.wire.answers import PromptDetails, Usage

_LOG = Log("service")


class Part(NamedTuple):
    """An output of the choice at this index."""

    at: int
    output: Output


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt, and how many answers of it are wanted; their indices start at `first_index`."""

    token_ids: list[int]
    params: SamplingParams
    n: int
    first_index: int = 0
    tenant: str = ""
    cache_salt: str = ""

    def requests(self) -> list[Generate]:
        """The engine's requests, one for each answer."""
        return [
            Generate(new_request_id(), self.token_ids, _with_seed(self.params, index), self.tenant, self.cache_salt)
            for index in range(self.n)
        ]


def _with_seed(params: SamplingParams, index: int) -> SamplingParams:
    if params.seed is None or not index:
        return params
    return msgspec.structs.replace(params, seed=params.seed + index)


@dataclass(frozen=True, slots=True)
class Service:
    """See the module."""

    client: EngineClient
    prompter: Prompter
    model: str
    defaults: Defaults
    options: GatewayOptions
    metrics: Metrics
    created: int
    clock: Callable[[], float] = time.time

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

    async def stream(self, jobs: list[Job]) -> AsyncGenerator[Part, None]:
        """All outputs of the jobs as they come, the first one of index 0. Closing it aborts what still runs."""
        requests = [(job.first_index + at, request) for job in jobs for at, request in enumerate(job.requests())]
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

    async def _one(self, index: int, request: Generate) -> AsyncGenerator[Part, None]:
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
        except EngineError as error:
            self.metrics.failed(error.code)
            raise

    async def _merged(self, requests: list[tuple[int, Generate]]) -> AsyncGenerator[Part, None]:
        queue: asyncio.Queue[Part | BaseException | None] = asyncio.Queue(maxsize=len(requests))

        async def pump(index: int, request: Generate) -> None:
            try:
                async with aclosing(self._one(index, request)) as parts:
                    async for part in parts:
                        await queue.put(part)
                await queue.put(None)
            except (EngineError, ApiError) as error:
                await queue.put(error)

        tasks = [asyncio.create_task(pump(index, request)) for index, request in requests]
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
    completion = sum(usage.completion_tokens for usage in latest.values())
    return Usage(prompt, completion, prompt + completion, PromptDetails(cached))
