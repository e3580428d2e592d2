"""/v1/responses: create, retrieve, delete, cancel, input items; whole, streamed, in the background, and resumed."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import invalid
from espalier.gateway.item_page import page_of
from espalier.gateway.parameters import select
from espalier.gateway.response import JsonResponse
from espalier.gateway.response_service import Making, ResponseService
from espalier.gateway.resumption import first_event_of, idempotency_of
from espalier.gateway.service import Service
from espalier.gateway.sse import LOGGED, logged, send_events
from espalier.gateway.wire import responses as wire
from espalier.gateway.wire.body import convert, parse, without_nulls
from espalier.gateway.wire.responses import DeletedResponse, ResponsesRequest
from espalier.sessions import Idempotency

_OPTIONS = ("text", "tool_choice", "reasoning", "conversation", "stream_options")


class CreateEndpoint:
    """POST /v1/responses, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service, responses: ResponseService) -> None:
        self._service, self._responses = service, responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await read_body(request, self._service.options.max_body_bytes)
        asked = _read(body)
        key = idempotency_of(request, body)
        start = first_event_of(request)
        work = self._answer(asked, scope["tenant"], key, start, send)
        whole = await while_connected(receive, work)
        if whole is not None:
            await JsonResponse(whole)(scope, receive, send)

    async def _answer(
        self, asked: ResponsesRequest, tenant: str, key: Idempotency | None, start: int, send: Send
    ) -> wire.Response | None:
        """The whole response, or None for one that was streamed. Whoever leaves meanwhile is seen to by the turn."""
        made = await self._responses.create(asked, tenant, key, resumes=start > 0)
        if asked.stream:
            await _stream(self._responses, tenant, made, start, send)
            return None
        if not isinstance(made, Making):
            return made
        if asked.background:
            return made.run.response
        async with made.turn.attached():
            await made.turn.ended()
        return made.run.response


class RetrieveEndpoint:
    """GET /v1/responses/{id}: the response, or its events from any of them on."""

    def __init__(self, responses: ResponseService) -> None:
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        tenant, response_id = scope["tenant"], request.path_params["response_id"]
        found = await self._responses.find(tenant, response_id)
        if _is_true(request, "stream"):
            await while_connected(receive, _stream(self._responses, tenant, found, first_event_of(request), send))
        else:
            whole = found.run.response if isinstance(found, Making) else found
            await JsonResponse(whole)(scope, receive, send)


async def _stream(
    responses: ResponseService, tenant: str, found: Making | wire.Response, start: int, send: Send
) -> None:
    if isinstance(found, Making):
        async with found.turn.attached() as log:
            await found.turn.begun()
            await send_events(send, logged(log.read(start)), [], LOGGED)
        return
    events = await responses.archive.events(tenant, found.id)
    if not events:
        raise invalid(
            "the events of this response were not kept; retrieve it without stream", "stream", "events_not_kept"
        )
    await send_events(send, logged(_numbered(events, start)), [], LOGGED)


async def _numbered(events: tuple[bytes, ...], start: int) -> AsyncGenerator[tuple[int, bytes], None]:
    for number in range(start, len(events)):
        yield number, events[number]


def _read(body: bytes) -> ResponsesRequest:
    fields = select(parse(body), "responses")
    options = {name: without_nulls(fields[name]) for name in _OPTIONS if name in fields}
    return convert(fields | options, ResponsesRequest)


def _is_true(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in ("true", "false"):
        raise invalid(f"{name} is {given[:64]!r}; it must be 'true' or 'false'", name)
    return given == "true"


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    responses = ResponseService(service)

    async def delete(request: Request) -> Response:
        response_id = request.path_params["response_id"]
        await responses.delete(request.scope["tenant"], response_id)
        return JsonResponse(DeletedResponse(response_id))

    async def cancel(request: Request) -> Response:
        return JsonResponse(await responses.cancel(request.scope["tenant"], request.path_params["response_id"]))

    async def input_items(request: Request) -> Response:
        items = await responses.archive.input_items(request.scope["tenant"], request.path_params["response_id"])
        return JsonResponse(page_of(items, request.query_params))

    async def input_tokens(request: Request) -> Response:
        body = await read_body(request, service.options.max_body_bytes)
        asked = _read(body)
        num_tokens = await responses.count(asked, request.scope["tenant"])
        return JsonResponse({"object": "response.input_tokens", "input_tokens": num_tokens})

    one = "/v1/responses/{response_id}"
    return [
        Route("/v1/responses", CreateEndpoint(service, responses), methods=["POST"]),
        Route("/v1/responses/input_tokens", input_tokens, methods=["POST"]),
        Route(one, RetrieveEndpoint(responses), methods=["GET"]),
        Route(one, delete, methods=["DELETE"]),
        Route(f"{one}/cancel", cancel, methods=["POST"]),
        Route(f"{one}/input_items", input_items, methods=["GET"]),
    ]
