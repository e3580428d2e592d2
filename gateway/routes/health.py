"""GET /live, /ready, /health, /metrics and an index at /."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from espalier.gateway.response import JsonResponse
from espalier.gateway.service import Service


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    client = service.client

    async def live(request: Request) -> Response:
        """The process can progress; also while it drains."""
        return JsonResponse({"status": "live"}) if client.is_alive else _failing("the engine does not step")

    async def ready(request: Request) -> Response:
        """It takes work."""
        if client.ready is None:
            return _failing("the engine is loading, restarting or draining")
        if service.sessions is not None and service.sessions.failure is not None:
            return _failing(f"sessions can't be stored since a write failed ({service.sessions.failure})")
        return JsonResponse({"status": "ready"}) if client.is_alive else _failing("the engine does not step")

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def index(request: Request) -> Response:
        paths = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions", "/v1/models"]
        paths += ["/tokenize", "/detokenize"]
        if service.sessions is not None:
            paths += ["/v1/conversations", "/v1/sessions"]
        return JsonResponse(
            {"name": "espalier", "model": service.model, "paths": [*paths, "/live", "/ready", "/metrics"]}
        )

    return [
        Route("/live", live),
        Route("/ready", ready),
        Route("/health", ready),
        Route("/metrics", metrics),
        Route("/", index),
    ]


def _failing(reason: str) -> Response:
    return JsonResponse({"status": "failing", "reason": reason}, status=503)
