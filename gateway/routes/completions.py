"""POST /v1/completions: one or several prompts, text or token ids, whole and streamed."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.engine.messages import SamplingParams
from espalier.engine.sampling_params import check
from espalier.gateway.answer_request import asked_answer
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.parameters import select
from espalier.gateway.prompter import Prompt, Room
from espalier.gateway.replay import Replay, Replays
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.resumption import first_event_of, idempotency_of
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Service
from espalier.gateway.sse import LOGGED, logged, send_events
from espalier.gateway.text_answer import TextAnswer
from espalier.gateway.text_run import TextRun
from espalier.gateway.wire.answers import Extras
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import CompletionRequest
from espalier.sessions import Idempotency

MAX_ANSWERS = 128
"""Most answers to one request, all prompts together."""


def split_prompts(prompt: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """The prompts of a request. Raises ApiError for a mixture of texts and token ids."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise invalid("prompt is empty", "prompt")
    tokens = [item for item in prompt if isinstance(item, int)]
    if len(tokens) == len(prompt):
        return [tokens]
    if tokens:
        raise invalid("prompt mixes token ids with prompts", "prompt")
    return [item for item in prompt if not isinstance(item, int)]


def _jobs(
    request: CompletionRequest, params: SamplingParams, prompts: list[Prompt], tenant: str, field: str | None
) -> list[Job]:
    return [
        Job(prompt.token_ids, params, request.n, at * request.n, tenant, request.cache_salt, field)
        for at, prompt in enumerate(prompts)
    ]


class CompletionEndpoint:
    """The route, as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._replays: Replays[TextRun] = Replays(service.options.resume_grace_s, service.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, service = Request(scope, receive), self._service
        body = await read_body(asked, service.options.max_body_bytes)
        request = convert(select(parse(body), "completions"), CompletionRequest)
        key, start = idempotency_of(asked, body), first_event_of(asked)
        if key is not None or start:
            kept = await while_connected(receive, self._kept(request, scope["tenant"], key, start, send))
            if kept is not None:
                await Response(kept, media_type="application/json")(scope, receive, send)
            return
        answer, headers = await self._answer(request, scope["tenant"])
        if request.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            whole = await while_connected(receive, answer.whole())
            await JsonResponse(whole, headers)(scope, receive, send)

    async def _kept(
        self, request: CompletionRequest, tenant: str, key: Idempotency | None, start: int, send: Send
    ) -> bytes | None:
        """The whole answer of a request that has a key, or None where it was streamed."""
        found = self._known(tenant, key, start) or await self._begun(request, tenant, key)
        async with found.live.attached() as log:
            if request.stream:
                await found.live.begun()
                await send_events(send, logged(log.read(start)), [], LOGGED)
                return None
            await found.live.ended()
        return found.run.whole

    def _known(self, tenant: str, key: Idempotency | None, start: int) -> Replay[TextRun] | None:
        known = None if key is None else self._replays.find(tenant, key)
        if known is None and start:
            message = "the stream that Last-Event-ID would resume is gone; send the request without it"
            raise ApiError(409, message, "Last-Event-ID", "stream_not_found", {"x-should-retry": "false"})
        return known

    async def _begun(self, request: CompletionRequest, tenant: str, key: Idempotency | None) -> Replay[TextRun]:
        assert key is not None
        answer, _ = await self._answer(request, tenant)
        # The same request may have come and been prepared, too; from here on nobody comes between.
        if (known := self._replays.find(tenant, key)) is not None:
            return known
        run = TextRun(answer, is_streamed=request.stream)
        live = self._service.live.start(tenant, answer.answer_id, run.produce, "kept", maker=run)
        return self._replays.add(tenant, key, run, live)

    async def _answer(self, request: CompletionRequest, tenant: str) -> tuple[TextAnswer, list[tuple[bytes, bytes]]]:
        """The answer, ready to be made, and headers that go with it. Raises ApiError, EngineError."""
        service = self._service
        service.check_model(request.model)
        if request.echo and request.logprobs is not None:
            raise invalid("echo with logprobs is not built: log-probabilities of the prompt are not computed", "echo")
        params = sampling_params(request, service.defaults, service.options)
        asked = asked_answer(request)
        coverage = None
        if asked is not None:
            coverage = await service.turns.schemas.check([asked], tenant)
            # Without a name for its part the answer comes as plain text.
            params = msgspec.structs.replace(params, constraint=msgspec.structs.replace(asked.constraint, part=None))
        prompts = await self._prompts(request, params)
        extras = Extras(next((prompt.truncation for prompt in prompts if prompt.truncation), None), coverage)
        field = None if asked is None else asked.where
        answer = TextAnswer(service, request, _jobs(request, params, prompts, tenant, field), extras)
        return answer, truncation_headers(prompts)

    async def _prompts(self, request: CompletionRequest, params: SamplingParams) -> list[Prompt]:
        several = split_prompts(request.prompt)
        if len(several) * request.n > MAX_ANSWERS:
            raise invalid(f"{len(several)} prompts with n = {request.n} are more than {MAX_ANSWERS} answers", "prompt")
        ready = self._service.ready()
        check(params, ready.vocab_size)
        room = Room(ready.max_context, params.max_tokens)
        for prompt in several:
            if isinstance(prompt, list) and (bad := [i for i in prompt if not 0 <= i < ready.vocab_size]):
                raise invalid(f"prompt holds token {bad[0]}; the vocabulary ends at {ready.vocab_size - 1}", "prompt")
        prompts = [await self._service.prompter.text(prompt, room) for prompt in several]
        if not all(prompt.token_ids for prompt in prompts):
            raise invalid("prompt is empty; at least one token is needed", "prompt")
        return prompts


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    return [Route("/v1/completions", CompletionEndpoint(service), methods=["POST"])]
