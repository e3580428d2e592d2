"""POST /v1/chat/completions, whole and streamed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.gateway.chat_answer import ChatAnswer
from espalier.gateway.chat_request import chat_turn
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.parameters import select
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Service
from espalier.gateway.sse import send_events
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import ChatRequest


class ChatEndpoint:
    """The route, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service = self._service
        fields = select(parse(await read_body(request, service.options.max_body_bytes)), "chat")
        chat = convert(fields, ChatRequest)
        service.check_model(chat.model)
        params = sampling_params(chat, service.defaults, service.options)
        turn = chat_turn(chat)
        prepared = await service.prepare(turn, params, n=chat.n, tenant=scope["tenant"], cache_salt=chat.cache_salt)
        answer = ChatAnswer(service, chat, prepared)
        headers = truncation_headers([prepared.prompt])
        if chat.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            whole = await while_connected(receive, answer.whole())
            await JsonResponse(whole, headers)(scope, receive, send)


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    return [Route("/v1/chat/completions", ChatEndpoint(service), methods=["POST"])]
