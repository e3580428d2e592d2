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

from espalier.gateway import message_error
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import ApiError
from espalier.gateway.extras import extras_of
from espalier.gateway.log import request_id_var
from espalier.gateway.message_events import MessageEvents
from espalier.gateway.message_request import chat_of, turn_of
from espalier.gateway.parameters import select
from espalier.gateway.prompter import UNBOUNDED
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Service
from espalier.gateway.sse import Form, event, send_events
from espalier.gateway.turn import check_turn
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.messages import AnswerMessage, CountRequest, MessageEvent, MessagesRequest, TokenCount

T = TypeVar("T", bound=CountRequest)


def _write(told: MessageEvent) -> bytes:
    return event(told, str(told.__struct_config__.tag))


def _fail(error: ApiError) -> bytes:
    return event(message_error.body(error, request_id_var.get() or ""), "error")


FORM = Form(_write, _fail, b"")
"""Every event is named, and nothing follows `message_stop`."""


async def _read(service: Service, request: Request, kind: type[T], route: str) -> T:
    asked = convert(select(parse(await read_body(request, service.options.max_body_bytes)), route), kind)
    service.check_model(asked.model)
    return asked


class MessagesEndpoint:
    """The route, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        asked = await _read(service, Request(scope, receive), MessagesRequest, "messages")
        params = sampling_params(chat_of(asked), service.defaults, service.options)
        prepared = await service.prepare(turn_of(asked), params, tenant=scope["tenant"], cache_salt=asked.cache_salt)
        growing = MessageEvents(f"msg_{uuid.uuid4().hex}", service.model, extras_of(prepared))
        events = self._events(prepared.job, growing)
        headers = truncation_headers([prepared.prompt])
        if asked.stream:
            await while_connected(receive, send_events(send, events, headers, FORM))
        else:
            whole = await while_connected(receive, _whole(events, growing))
            await JsonResponse(whole, headers)(scope, receive, send)

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


async def _whole(events: AsyncGenerator[MessageEvent, None], growing: MessageEvents) -> AnswerMessage:
    async with aclosing(events) as told:
        async for _ in told:
            pass
    return growing.message


def routes(service: Service) -> list[Route]:
    """The routes of this file."""

    async def count_tokens(request: Request) -> Response:
        turn = turn_of(await _read(service, request, CountRequest, "count_tokens"))
        check_turn(turn)
        # Nothing is dropped here: who counts tokens wants to know how many there are.
        prompt = await service.prompter.chat(
            turn.messages, UNBOUNDED, tools=[tool.told() for tool in turn.tools] or None
        )
        return JsonResponse(TokenCount(len(prompt.token_ids)))

    return [
        Route("/v1/messages", MessagesEndpoint(service), methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    ]
