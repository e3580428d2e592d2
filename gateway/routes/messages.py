"""POST /v1/messages, whole and streamed, and /v1/messages/count_tokens: the Messages API of Anthropic."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.gateway.answer_event import Finished
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import ApiError
from espalier.gateway.extras import at_end, extras_of
from espalier.gateway.message_events import MessageEvents
from espalier.gateway.message_request import chat_of, turn_of
from espalier.gateway.message_run import FORM, LOGGED, MessageRun
from espalier.gateway.parameters import select
from espalier.gateway.prompter import UNBOUNDED
from espalier.gateway.replay import Replay, Replays
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.resumption import first_event_of, idempotency_of
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Prepared, Service
from espalier.gateway.sse import logged, send_events
from espalier.gateway.turn import check_turn
from espalier.gateway.wire.answers import Extras
from espalier.gateway.wire.body import convert, parse, without_nulls
from espalier.gateway.wire.messages import AnswerMessage, CountRequest, MessageEvent, MessagesRequest, TokenCount
from espalier.sessions import Idempotency

T = TypeVar("T", bound=CountRequest)


class MessagesEndpoint:
    """The route, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._replays: Replays[MessageRun] = Replays(service.options.resume_grace_s, service.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, service = Request(scope, receive), self._service
        body = await read_body(request, service.options.max_body_bytes)
        asked = _read(body, MessagesRequest, "messages")
        service.check_model(asked.model)
        key, start = idempotency_of(request, body), first_event_of(request)
        if key is not None or start:
            kept = await while_connected(receive, self._kept(asked, scope["tenant"], key, start, send))
            if kept is not None:
                await JsonResponse(kept)(scope, receive, send)
            return
        prepared = await self._prepared(asked, scope["tenant"])
        growing = self._growing(prepared)
        events, headers = self._events(prepared.job, growing), truncation_headers([prepared.prompt])
        if asked.stream:
            await while_connected(receive, send_events(send, events, headers, FORM))
        else:
            whole = await while_connected(receive, _whole(events, growing))
            await JsonResponse(whole, headers)(scope, receive, send)

    async def _kept(
        self, asked: MessagesRequest, tenant: str, key: Idempotency | None, start: int, send: Send
    ) -> AnswerMessage | None:
        """The whole message of a request that has a key, or None where it was streamed."""
        found = self._known(tenant, key, start) or await self._begun(asked, tenant, key)
        async with found.live.attached() as log:
            if asked.stream:
                await found.live.begun()
                await send_events(send, logged(log.read(start)), [], LOGGED)
                return None
            await found.live.ended()
        return found.run.message

    def _known(self, tenant: str, key: Idempotency | None, start: int) -> Replay[MessageRun] | None:
        known = None if key is None else self._replays.find(tenant, key)
        if known is None and start:
            message = "the stream that Last-Event-ID would resume is gone; send the request without it"
            raise ApiError(409, message, "Last-Event-ID", "stream_not_found", {"x-should-retry": "false"})
        return known

    async def _begun(self, asked: MessagesRequest, tenant: str, key: Idempotency | None) -> Replay[MessageRun]:
        assert key is not None
        prepared = await self._prepared(asked, tenant)
        # The same request may have come and been prepared, too; from here on nobody comes between.
        if (known := self._replays.find(tenant, key)) is not None:
            return known
        run = MessageRun(self._service, prepared.job, self._growing(prepared))
        live = self._service.live.start(tenant, run.message.id, run.produce, "kept", maker=run)
        return self._replays.add(tenant, key, run, live)

    async def _prepared(self, asked: MessagesRequest, tenant: str) -> Prepared:
        params = sampling_params(chat_of(asked), self._service.defaults, self._service.options)
        return await self._service.prepare(turn_of(asked), params, tenant=tenant, cache_salt=asked.cache_salt)

    def _growing(self, prepared: Prepared) -> MessageEvents:
        def said_at_end(finished: Finished) -> Extras:
            return at_end(self._service, prepared, finished)

        return MessageEvents(f"msg_{uuid.uuid4().hex}", self._service.model, extras_of(prepared), said_at_end)

    async def _events(self, job: Job, growing: MessageEvents) -> AsyncGenerator[MessageEvent, None]:
        has_begun = False
        async with aclosing(self._service.answer_events([job])) as events:
            async for told in events:
                if not has_begun:
                    has_begun = True
                    for one in growing.begin(told.usage):
                        yield one
                for one in growing.add(told.event):
                    yield one


def _read(body: bytes, kind: type[T], route: str) -> T:
    fields = select(parse(body), route)
    options = {name: without_nulls(fields[name]) for name in ("tool_choice", "output_config") if name in fields}
    return convert(fields | options, kind)


async def _whole(events: AsyncGenerator[MessageEvent, None], growing: MessageEvents) -> AnswerMessage:
    async with aclosing(events) as told:
        async for _ in told:
            pass
    return growing.message


def routes(service: Service) -> list[Route]:
    """The routes of this file."""

    async def count_tokens(request: Request) -> Response:
        body = await read_body(request, service.options.max_body_bytes)
        asked = _read(body, CountRequest, "count_tokens")
        service.check_model(asked.model)
        turn = turn_of(asked)
        check_turn(turn)
        # Nothing is dropped here: who counts tokens wants to know how many there are.
        tools = [tool.told() for tool in turn.tools] or None
        prompt = await service.prompter.chat(turn.messages, UNBOUNDED, tools=tools)
        return JsonResponse(TokenCount(len(prompt.token_ids)))

    return [
        Route("/v1/messages", MessagesEndpoint(service), methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    ]
