"""POST /v1/chat/completions, whole and streamed; with a session or a key it outlives its connection."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.gateway.chat_answer import ChatAnswer
from espalier.gateway.chat_request import chat_turn, prompt_cache_of
from espalier.gateway.chat_service import Asked, ChatService, Making, Stored
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import invalid
from espalier.gateway.live_turn import ended_early
from espalier.gateway.parameters import select
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.resumption import first_event_of, idempotency_of
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Service
from espalier.gateway.sse import LOGGED, logged, send_events
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import MAX_SESSION_ID, ChatRequest


class ChatEndpoint:
    """The route, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service) -> None:
        self._service, self._chats = service, ChatService(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service = self._service
        body = await read_body(request, service.options.max_body_bytes)
        chat = convert(select(parse(body), "chat"), ChatRequest)
        service.check_model(chat.model)
        asked = _asked(request, body, chat)
        if asked.outlives:
            whole = await while_connected(receive, self._kept(asked, send))
            if whole is not None:
                await Response(whole, media_type="application/json")(scope, receive, send)
            return
        params = sampling_params(chat, service.defaults, service.options)
        turn = chat_turn(chat)
        prepared = await service.prepare(
            turn,
            params,
            n=chat.n,
            tenant=scope["tenant"],
            cache_salt=chat.cache_salt,
            prompt_cache=prompt_cache_of(chat),
        )
        answer = ChatAnswer(service, chat, prepared)
        headers = truncation_headers([prepared.prompt])
        if chat.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            answered = await while_connected(receive, answer.whole())
            await JsonResponse(answered, headers)(scope, receive, send)

    async def _kept(self, asked: Asked, send: Send) -> bytes | None:
        """The whole answer, or None for one that was streamed. Whoever leaves meanwhile is seen to by the turn."""
        made = await self._chats.create(asked)
        if isinstance(made, Making):
            return await self._made(made, asked, send)
        if asked.chat.stream:
            await self._again(made, asked, send)
            return None
        return made.whole

    async def _made(self, made: Making, asked: Asked, send: Send) -> bytes | None:
        async with made.live.attached() as log:
            if asked.chat.stream:
                await made.live.begun()
                await send_events(send, logged(log.read(asked.first_event)), [], LOGGED)
                return None
            await made.live.ended()
        if made.live.was_cancelled:
            raise ended_early()
        return made.run.whole

    async def _again(self, stored: Stored, asked: Asked, send: Send) -> None:
        if not stored.events:
            raise invalid("the events of this answer were not kept; read its turn", "stream", "events_not_kept")
        await send_events(send, logged(stored.numbered(asked.first_event)), [], LOGGED)


def _asked(request: Request, body: bytes, chat: ChatRequest) -> Asked:
    header = "" if chat.session_id else request.headers.get("x-session-id", "")
    if len(header) > MAX_SESSION_ID:
        raise invalid(f"X-Session-ID has {len(header)} characters; at most {MAX_SESSION_ID} are read", "X-Session-ID")
    return Asked(
        chat,
        request.scope["tenant"],
        chat.session_id or header,
        request.headers.get("if-match", "").strip('" ') or None,
        idempotency_of(request, body, header),
        first_event_of(request),
    )


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    return [Route("/v1/chat/completions", ChatEndpoint(service), methods=["POST"])]
