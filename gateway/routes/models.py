"""GET /v1/models and /v1/models/{id}, in OpenAI's shape, or in Anthropic's where `anthropic-version` is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from espalier.gateway.message_error import speaks_messages
from espalier.gateway.response import JsonResponse
from espalier.gateway.service import Service


def routes(service: Service) -> list[Route]:
    """The routes of this file."""

    def card() -> dict[str, Any]:
        ready = service.client.ready
        return {
            "id": service.model,
            "object": "model",
            "created": service.created,
            "owned_by": "espalier",
            "max_model_len": ready.max_context if ready else None,
        }

    def anthropic_card() -> dict[str, Any]:
        ready = service.client.ready
        context = ready.max_context if ready else None
        return {
            "type": "model",
            "id": service.model,
            "display_name": service.model,
            "created_at": datetime.fromtimestamp(service.created, UTC).isoformat().replace("+00:00", "Z"),
            "lifecycle": "active",
            "max_input_tokens": context,
            "max_tokens": context,
        }

    async def models(request: Request) -> Response:
        if speaks_messages(request.url.path, request.headers):
            name = service.model
            return JsonResponse({"data": [anthropic_card()], "first_id": name, "last_id": name, "has_more": False})
        return JsonResponse({"object": "list", "data": [card()]})

    async def model(request: Request) -> Response:
        service.check_model(request.path_params["name"])
        return JsonResponse(anthropic_card() if speaks_messages(request.url.path, request.headers) else card())

    return [Route("/v1/models", models), Route("/v1/models/{name:path}", model)]
