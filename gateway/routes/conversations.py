"""/v1/conversations: create, retrieve, update, delete, and the same for their items."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from espalier.gateway.connection import read_body
from espalier.gateway.conversation_archive import ConversationArchive
from espalier.gateway.item_page import page_of, whole_list
from espalier.gateway.response import JsonResponse
from espalier.gateway.response_archive import no_conversation
from espalier.gateway.service import Service
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.conversations import CreateConversation, CreateItems, DeletedConversation, UpdateConversation

T = TypeVar("T")
ONE = "/v1/conversations/{conversation_id}"


class ConversationEndpoints:
    """The routes of conversations and their items."""

    def __init__(self, service: Service) -> None:
        self._service = service
        sessions = service.sessions
        self._archive = None if sessions is None else ConversationArchive(sessions, service.live, service.client)

    async def create(self, request: Request) -> Response:
        """POST /v1/conversations."""
        asked = await self._read(request, CreateConversation)
        return JsonResponse(await self.archive.create(request.scope["tenant"], asked.items, asked.metadata))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/conversations/{id}."""
        return JsonResponse(await self.archive.get(*_names(request)))

    async def update(self, request: Request) -> Response:
        """POST /v1/conversations/{id}."""
        asked = await self._read(request, UpdateConversation, nullable="metadata")
        return JsonResponse(await self.archive.update(*_names(request), asked.metadata or {}))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/conversations/{id}."""
        tenant, conversation_id = _names(request)
        await self.archive.delete(tenant, conversation_id)
        return JsonResponse(DeletedConversation(conversation_id))

    async def add_items(self, request: Request) -> Response:
        """POST /v1/conversations/{id}/items."""
        asked = await self._read(request, CreateItems)
        return JsonResponse(whole_list(await self.archive.add(*_names(request), asked.items)))

    async def list_items(self, request: Request) -> Response:
        """GET /v1/conversations/{id}/items."""
        return JsonResponse(page_of(await self.archive.items(*_names(request)), request.query_params))

    async def retrieve_item(self, request: Request) -> Response:
        """GET /v1/conversations/{id}/items/{item_id}."""
        return JsonResponse(await self.archive.item(*_names(request), request.path_params["item_id"]))

    async def delete_item(self, request: Request) -> Response:
        """DELETE /v1/conversations/{id}/items/{item_id}."""
        return JsonResponse(await self.archive.delete_item(*_names(request), request.path_params["item_id"]))

    @property
    def archive(self) -> ConversationArchive:
        """Where conversations are stored. Raises ApiError where nothing is."""
        if self._archive is None:
            raise no_conversation()
        return self._archive

    async def _read(self, request: Request, kind: type[T], nullable: str = "") -> T:
        body = await read_body(request, self._service.options.max_body_bytes)
        given = parse(body) if body.strip() else {}
        return convert({name: value for name, value in given.items() if value is not None or name == nullable}, kind)


def _names(request: Request) -> tuple[str, str]:
    return request.scope["tenant"], request.path_params["conversation_id"]


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    ends = ConversationEndpoints(service)
    return [
        Route("/v1/conversations", ends.create, methods=["POST"]),
        Route(ONE, ends.retrieve, methods=["GET"]),
        Route(ONE, ends.update, methods=["POST"]),
        Route(ONE, ends.delete, methods=["DELETE"]),
        Route(f"{ONE}/items", ends.add_items, methods=["POST"]),
        Route(f"{ONE}/items", ends.list_items, methods=["GET"]),
        Route(f"{ONE}/items/{{item_id}}", ends.retrieve_item, methods=["GET"]),
        Route(f"{ONE}/items/{{item_id}}", ends.delete_item, methods=["DELETE"]),
    ]
