"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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

    async def models(request: Request) -> Response:
        return JsonResponse({"object": "list", "data": [card()]})

    async def model(request: Request) -> Response:
        service.check_model(request.path_params["name"])
        return JsonResponse(card())

    return [Route("/v1/models", models), Route("/v1/models/{name:path}", model)]
