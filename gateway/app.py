"""The HTTP application: routes behind the edge. Takes its parts, starts nothing."""

from __future__ import annotations

import time
from pathlib import Path

from starlette.routing import Router
from starlette.types import ASGIApp

from espalier.gateway.auth import KeyRing
from espalier.gateway.edge import Edge
from espalier.gateway.engine_client import EngineClient
from espalier.gateway.metrics import Metrics
from espalier.gateway.options import GatewayOptions
from espalier.gateway.prompter import Prompter
from espalier.gateway.routes import chat_completions, completions, health, models, tokens
from espalier.gateway.sampling import Defaults
from espalier.gateway.service import Service


def create_app(
    client: EngineClient, *, folder: Path, model: str, options: GatewayOptions, keys: KeyRing | None = None
) -> ASGIApp:
    """The application in front of `client`.

    `folder` holds the tokenizer, the chat template and the generation defaults of the model that clients call `model`.
    """
    service = Service(
        client=client,
        prompter=Prompter.load(folder, options),
        model=model,
        defaults=Defaults.load(folder),
        options=options,
        metrics=Metrics(client, model),
        created=int(time.time()),
    )
    parts = (chat_completions, completions, models, tokens, health)
    router = Router(routes=[route for part in parts for route in part.routes(service)], redirect_slashes=False)
    return Edge(router, keys or KeyRing())
