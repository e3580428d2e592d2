"""What becomes of requests for responses: begun, found again while they run or from the store, cancelled, deleted.

One that runs is a live turn, one that has ended is in the archive, if it is stored. A tenant reaches its own only.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from msgspec.structs import replace

from espalier.engine.messages import TokenLogprob
from espalier.gateway import response_request
from espalier.gateway.answer_event import Finished
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.extras import at_end, extras_of
from espalier.gateway.live_turn import LiveTurn, Policy
from espalier.gateway.logprob import spelled
from espalier.gateway.response_archive import (
    ResponseArchive,
)
from espalier.gateway.response_events import ResponseEvents
from espalier.gateway.response_plan import Plan, ResponsePlanner, draft_of
from espalier.gateway.response_run import Place, ResponseRun
from espalier.gateway.service import Service
from espalier.gateway.session_lease import fork, session_key
from espalier.gateway.session_upkeep import forget
from espalier.gateway.wire.answers import ContentLogprob, Extras
from espalier.gateway.wire.responses import Response, ResponsesRequest
from espalier.sessions import Idempotency
from espalier.sessions.errors import BusyError


@dataclass(frozen=True, slots=True)
class Making:
    """A response that runs."""

    run: ResponseRun
    turn: LiveTurn


ATTEMPTS = 3
"""Of beginning a response, where others begin and end in its conversation meanwhile."""


class ResponseService:
    """See the module."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._archive = None if service.sessions is None else ResponseArchive(service.sessions)
        self._planner = ResponsePlanner(service, self._archive)
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def archive(self) -> ResponseArchive:
        """Where responses are stored. Raises ApiError where nothing is."""
        if self._archive is None:
            raise ApiError(404, "this server stores no responses", code="response_not_found")
        return self._archive

    async def create(
        self, asked: ResponsesRequest, tenant: str, idempotency: Idempotency | None = None, *, resumes: bool = False
    ) -> Making | Response:
        """Begin a response; or find the one that the key has begun, running or whole. Raises ApiError, EngineError.

        Who `resumes` a stream is never given another one.
        """
        asked = self._checked(asked, idempotency)
        if idempotency is None:
            return await self._begun(asked, tenant, None, resumes=resumes)
        lock = self._locks.setdefault((tenant, idempotency.key), asyncio.Lock())
        async with lock:  # the second of two at once finds what the first has begun
            if (known := await self.archive.replay(tenant, idempotency)) is not None:
                return await self.find(tenant, known.response_id or "")
            return await self._begun(asked, tenant, idempotency, resumes=resumes)

    async def count(self, asked: ResponsesRequest, tenant: str) -> int:
        """The tokens of a request's prompt. Raises ApiError."""
        self._service.check_model(asked.model)
        return len((await self._planner.plan(asked, tenant)).prepared.prompt.token_ids)

    async def find(self, tenant: str, response_id: str) -> Making | Response:
        """A stored response, running or not. Raises ApiError."""
        turn_id = await self.archive.turn_id(tenant, response_id)
        turn = self._service.live.get(tenant, turn_id)
        if turn is not None and isinstance(turn.maker, ResponseRun):
            return Making(turn.maker, turn)
        return await self.archive.response(tenant, response_id)

    async def cancel(self, tenant: str, response_id: str) -> Response:
        """End a response that runs; it is cancelled, and its KV slots are free, when this returns. Raises ApiError."""
        found = await self.find(tenant, response_id)
        if isinstance(found, Making):
            await found.turn.cancel()
            return found.run.response
        if not found.background and found.status != "cancelled":
            raise invalid("only a response that runs, or a background response, can be cancelled", "response_id")
        return found

    async def delete(self, tenant: str, response_id: str) -> None:
        """Delete a response; one that runs is cancelled first. Raises ApiError."""
        found = await self.find(tenant, response_id)
        if isinstance(found, Making):
            await found.turn.cancel()
        forget(self._service.client, await self.archive.delete(tenant, response_id))

    def _checked(self, asked: ResponsesRequest, idempotency: Idempotency | None) -> ResponsesRequest:
        """The request with `store` said: what is not said otherwise is stored where anything is."""
        self._service.check_model(asked.model)
        if asked.store is None:
            asked = replace(asked, store=self._archive is not None)
        if asked.background and not asked.store:
            raise invalid("background needs store: true; nobody could read the answer", "background")
        if asked.store and self._archive is None:
            raise invalid("this server stores no responses; send store: false", "store")
        if idempotency is not None and not asked.store:
            raise invalid("an Idempotency-Key needs store: true; there would be no answer to replay", "store")
        return asked

    async def _begun(
        self, asked: ResponsesRequest, tenant: str, idempotency: Idempotency | None, *, resumes: bool
    ) -> Making | Response:
        if resumes:
            message = "the stream that Last-Event-ID would resume is gone; send the request without it"
            raise ApiError(409, message, "Last-Event-ID", "stream_not_found", {"x-should-retry": "false"})
        if not asked.store:
            plan = await self._planner.plan(asked, tenant)
            response = replace(self._response(asked, plan), espalier=extras_of(plan.prepared))
            run = ResponseRun(self._service, plan.prepared.job, self._growing(response, plan), None)
            return self._start(tenant, plan.response_id, run, "attached")
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._stored(asked, tenant, idempotency)
            except BusyError as busy:
                if not await self._service.live.make_way(tenant, busy.turn_id):
                    raise
        return await self._stored(asked, tenant, idempotency)

    async def _stored(self, asked: ResponsesRequest, tenant: str, idempotency: Idempotency | None) -> Making | Response:
        """Begin a response that is stored. Raises BusyError where its conversation has another one running."""
        plan = await self._planner.plan(asked, tenant)
        response = self._response(asked, plan)
        draft = draft_of(plan, response, idempotency, asked.cache_salt)
        begun = await self.archive.begin(tenant, plan.history, draft)
        if begun.is_replay:
            return await self.find(tenant, begun.turn.response_id or "")
        growing = self._growing(replace(response, espalier=extras_of(plan.prepared, begun.turn)), plan)
        before = plan.history.path.session
        if not plan.history.is_new and begun.session.id != before.id:
            fork(self._service.client, before, begun.session)
        job = dataclasses.replace(plan.prepared.job, session=session_key(tenant, begun.session.id), is_group=False)
        run = ResponseRun(self._service, job, growing, Place(self.archive, tenant, begun.turn.id))
        policy: Policy = "background" if asked.background else "attached" if idempotency is None else "kept"
        return self._start(tenant, begun.turn.id, run, policy)

    def _response(self, asked: ResponsesRequest, plan: Plan) -> Response:
        return response_request.begun(
            asked,
            plan.tools,
            plan.prepared.job.params,
            response_id=plan.response_id,
            model=self._service.model,
            created_at=int(self._service.clock()),
            truncation="auto" if self._service.options.overflow == "truncate" else "disabled",
        )

    def _growing(self, response: Response, plan: Plan) -> ResponseEvents:
        def said_at_end(finished: Finished) -> Extras:
            return at_end(self._service, plan.prepared, finished)

        return ResponseEvents(response, plan.ids, self._spell, self._service.clock, said_at_end)

    def _start(self, tenant: str, turn_id: str, run: ResponseRun, policy: Policy) -> Making:
        return Making(run, self._service.live.start(tenant, turn_id, run.produce, policy, maker=run))

    def _spell(self, entries: Sequence[TokenLogprob]) -> list[ContentLogprob]:
        return spelled(self._service.prompter.tokenizer, entries)
