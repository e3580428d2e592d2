"""POST /v1/completions: one or several prompts, text or token ids, whole and streamed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.engine.messages import SamplingParams, TokenLogprob
from espalier.engine.messages import Usage as EngineUsage
from espalier.engine.sampling_params import check
from espalier.gateway.answer_request import asked_answer
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.errors import invalid
from espalier.gateway.parameters import select
from espalier.gateway.prompter import Prompt, Room
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Part, Service, total_usage
from espalier.gateway.sse import send_events
from espalier.gateway.wire import answers
from espalier.gateway.wire.answers import Extras, TextChoice, TextCompletion, TextLogprobs, finite
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import CompletionRequest, StreamOptions

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


class TextAnswer:
    """The answer to one request, being made."""

    def __init__(self, service: Service, request: CompletionRequest, jobs: list[Job], extras: Extras) -> None:
        self._service, self._request, self._jobs = service, request, jobs
        self._echo = {
            job.first_index + at: service.prompter.tokenizer.decode(job.token_ids) if request.echo else ""
            for job in self._jobs
            for at in range(job.n)
        }
        self._id, self._created = f"cmpl-{uuid.uuid4().hex}", int(service.clock())
        self._extras: Extras | UnsetType = UNSET if extras == Extras() else extras
        self._latest: dict[int, EngineUsage] = {}
        self._offsets = {index: len(text) for index, text in self._echo.items()}

    async def whole(self) -> TextCompletion:
        """All completions."""
        texts = dict(self._echo)
        entries: dict[int, list[TokenLogprob]] = {index: [] for index in texts}
        last: dict[int, Part] = {}
        async with aclosing(self._service.stream(self._jobs)) as parts:
            async for part in parts:
                texts[part.at] += part.output.text
                entries[part.at] += part.output.logprobs or []
                self._latest[part.at], last[part.at] = part.output.usage, part
        choices = [
            TextChoice(
                index, text, _reason(last[index]), self._logprobs(index, entries[index]), last[index].output.stop_reason
            )
            for index, text in sorted(texts.items())
        ]
        return self._completion(choices, total_usage(self._jobs, self._latest))

    async def chunks(self) -> AsyncGenerator[TextCompletion, None]:
        """The completions as a stream of chunks."""
        options = self._request.stream_options or StreamOptions()
        continuous = bool(options.continuous_usage_stats)
        between: answers.Usage | UnsetType | None = None if options.include_usage else UNSET
        async with aclosing(self._service.stream(self._jobs)) as parts:
            async for part in parts:
                output = part.output
                text = (self._echo[part.at] if part.at not in self._latest else "") + output.text
                self._latest[part.at] = output.usage
                if not (text or output.finish_reason or output.logprobs):
                    continue
                usage = total_usage(self._jobs, self._latest) if continuous else between
                logprobs = self._logprobs(part.at, output.logprobs or [])
                yield self._completion([TextChoice(part.at, text, _reason(part), logprobs, output.stop_reason)], usage)
        if options.include_usage:
            yield self._completion([], total_usage(self._jobs, self._latest))

    def _completion(self, choices: list[TextChoice], usage: answers.Usage | UnsetType | None) -> TextCompletion:
        return TextCompletion(self._id, self._created, self._service.model, choices, usage=usage, espalier=self._extras)

    def _logprobs(self, index: int, entries: list[TokenLogprob]) -> TextLogprobs | None:
        if self._request.logprobs is None:
            return None
        spell = self._service.prompter.tokenizer.token_text
        offsets: list[int] = []
        for entry in entries:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(spell(entry.token_id))
        return TextLogprobs(
            [spell(entry.token_id) for entry in entries],
            [finite(entry.logprob) for entry in entries],
            [{spell(top.token_id): finite(top.logprob) for top in entry.top} for entry in entries],
            offsets,
        )


def _jobs(
    request: CompletionRequest, params: SamplingParams, prompts: list[Prompt], tenant: str, field: str | None
) -> list[Job]:
    return [
        Job(prompt.token_ids, params, request.n, at * request.n, tenant, request.cache_salt, field)
        for at, prompt in enumerate(prompts)
    ]


def _reason(part: Part) -> answers.FinishReason | None:
    reason = part.output.finish_reason
    return None if reason is None else "length" if reason == "length" else "stop"


class CompletionEndpoint:
    """The route, as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        fields = select(parse(await read_body(Request(scope, receive), service.options.max_body_bytes)), "completions")
        request = convert(fields, CompletionRequest)
        service.check_model(request.model)
        if request.echo and request.logprobs is not None:
            raise invalid("echo with logprobs is not built: log-probabilities of the prompt are not computed", "echo")
        params = sampling_params(request, service.defaults, service.options)
        asked = asked_answer(request)
        coverage = None
        if asked is not None:
            coverage = await service.turns.schemas.check([asked], scope["tenant"])
            # Without a name for its part the answer comes as plain text.
            params = msgspec.structs.replace(params, constraint=msgspec.structs.replace(asked.constraint, part=None))
        prompts = await self._prompts(request, params)
        extras = Extras(next((prompt.truncation for prompt in prompts if prompt.truncation), None), coverage)
        field = None if asked is None else asked.where
        answer = TextAnswer(service, request, _jobs(request, params, prompts, scope["tenant"], field), extras)
        headers = truncation_headers(prompts)
        if request.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            whole = await while_connected(receive, answer.whole())
            await JsonResponse(whole, headers)(scope, receive, send)

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
