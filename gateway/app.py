"""The HTTP application: routes behind the edge. Takes its parts, starts nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.routing import Router
from starlette.types import ASGIApp

from espalier.gateway.answer_check import require_library
from espalier.gateway.auth import KeyRing
from espalier.gateway.edge import Edge
from espalier.gateway.engine_client import EngineClient
from espalier.gateway.live_turn import LiveTurns
from espalier.gateway.metrics import Metrics
from espalier.gateway.options import GatewayOptions
from espalier.gateway.prompter import Prompter
from espalier.gateway.result_opening import ResultOpening, result_opening
from espalier.gateway.routes import (
    chat_completions,
    completions,
    conversations,
    health,
    messages,
    models,
    responses,
    tokens,
)
from espalier.gateway.routes import (
    sessions as session_routes,
)
from espalier.gateway.sampling import Defaults
from espalier.gateway.schema_check import SchemaCheck, SchemaChecker, ThreadChecker
from espalier.gateway.service import Service
from espalier.gateway.turn_constraint import AnswerFormat
from espalier.gateway.turn_service import TurnService
from espalier.sessions import Sessions


def create_app(
    client: EngineClient,
    *,
    folder: Path,
    model: str,
    options: GatewayOptions,
    keys: KeyRing | None = None,
    checker: SchemaChecker | None = None,
    sessions: Sessions | None = None,
) -> ASGIApp:
    """The application in front of `client`.

    `folder` holds the tokenizer, the chat template and the generation defaults of the model that clients call `model`.
    `checker` judges schemas; default a thread of this process.
    `sessions` is where turns are stored, and stays the caller's to close; without it nothing is.
    """
    if options.check_answers:
        require_library()
    prompter = Prompter.load(folder, options)
    form = AnswerFormat.of(prompter.tokenizer, prompter.template, options)
    service = Service(
        client=client,
        prompter=prompter,
        turns=TurnService(
            prompter, form, SchemaCheck(checker or ThreadChecker()), options.check_answers, _opening(prompter, options)
        ),
        model=model,
        defaults=Defaults.load(folder),
        options=options,
        metrics=Metrics(client, model),
        created=int(time.time()),
        sessions=sessions,
        live=LiveTurns(grace_s=options.resume_grace_s),
    )
    parts = (chat_completions, completions, responses, conversations, session_routes, messages, models, tokens, health)

    @asynccontextmanager
    async def lifespan(router: object) -> AsyncGenerator[None, None]:
        yield
        # What still runs, in the background, ends before the store is closed.
        await service.live.close()

    all_routes = [route for part in parts for route in part.routes(service)]
    return Edge(Router(routes=all_routes, redirect_slashes=False, lifespan=lifespan), keys or KeyRing())


def _opening(prompter: Prompter, options: GatewayOptions) -> ResultOpening | None:
    if prompter.template is None or not options.prefill_results:
        return None
    return result_opening(prompter.template, frozenset(prompter.tokenizer.end_token_ids))
