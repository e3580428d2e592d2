"""POST /v1/chat/completions, whole and streamed."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from espalier.engine.messages import TokenLogprob
from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.parameters import select
from espalier.gateway.prompter import Prompt
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Part, Service, total_usage
from espalier.gateway.sse import send_events
from espalier.gateway.wire import answers
from espalier.gateway.wire.answers import AssistantMessage, ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import ChatRequest, StreamOptions


class ChatAnswer:
    """The answer to one chat request, being made."""

    def __init__(self, service: Service, request: ChatRequest, prompt: Prompt, tenant: str) -> None:
        self._service, self._request = service, request
        params = sampling_params(request, service.defaults, service.options)
        self._jobs = [Job(prompt.token_ids, params, request.n, tenant=tenant, cache_salt=request.cache_salt)]
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(service.clock())
        self._extras: answers.Extras | UnsetType = answers.Extras(prompt.truncation) if prompt.truncation else UNSET
        self._latest: dict[int, EngineUsage] = {}

    async def whole(self) -> ChatCompletion:
        """All answers, complete."""
        texts = {index: "" for index in range(self._request.n)}
        logprobs: dict[int, list[answers.ContentLogprob]] = {index: [] for index in texts}
        last: dict[int, Part] = {}
        async with aclosing(self._service.stream(self._jobs)) as parts:
            async for part in parts:
                texts[part.index] += part.output.text
                logprobs[part.index] += self._content(part.output.logprobs)
                self._latest[part.index], last[part.index] = part.output.usage, part
        choices = [
            ChatChoice(
                index,
                AssistantMessage(text),
                _reason(last[index]),
                answers.ChatLogprobs(logprobs[index]) if self._request.logprobs else None,
                last[index].output.stop_reason,
            )
            for index, text in texts.items()
        ]
        usage = total_usage(self._jobs, self._latest)
        return ChatCompletion(self._id, self._created, self._service.model, choices, usage, espalier=self._extras)

    async def chunks(self) -> AsyncGenerator[ChatChunk, None]:
        """The answers as a stream of chunks."""
        options = self._request.stream_options or StreamOptions()
        continuous = bool(options.continuous_usage_stats)
        between: answers.Usage | UnsetType | None = None if options.include_usage else UNSET
        async with aclosing(self._service.stream(self._jobs)) as parts:
            async for part in parts:
                is_first = part.index not in self._latest
                self._latest[part.index] = part.output.usage
                if not (part.output.text or part.output.finish_reason or is_first or part.output.logprobs):
                    continue
                usage = total_usage(self._jobs, self._latest) if continuous else between
                yield self._chunk([self._choice(part, is_first)], usage)
        if options.include_usage:
            yield self._chunk([], total_usage(self._jobs, self._latest))

    def _choice(self, part: Part, is_first: bool) -> ChunkChoice:
        output = part.output
        return ChunkChoice(
            part.index,
            Delta("assistant" if is_first else UNSET, output.text if output.text or is_first else UNSET),
            None if output.finish_reason is None else _reason(part),
            answers.ChatLogprobs(self._content(output.logprobs)) if output.logprobs else None,
            UNSET if output.stop_reason is None else output.stop_reason,
        )

    def _chunk(self, choices: list[ChunkChoice], usage: answers.Usage | UnsetType | None) -> ChatChunk:
        return ChatChunk(self._id, self._created, self._service.model, choices, usage=usage, espalier=self._extras)

    def _content(self, entries: list[TokenLogprob] | None) -> list[answers.ContentLogprob]:
        spell = self._service.prompter.tokenizer.spelling
        return [
            answers.ContentLogprob(
                *spell(entry.token_id, bounded(entry.logprob)),
                [answers.TopLogprob(*spell(top.token_id, bounded(top.logprob))) for top in entry.top],
            )
            for entry in entries or ()
        ]


def bounded(logprob: float) -> float:
    """JSON has no infinities: OpenAI writes -9999.0 for tokens that can't be."""
    return logprob if math.isfinite(logprob) else -9999.0


def _reason(part: Part) -> answers.FinishReason:
    return "length" if part.output.finish_reason == "length" else "stop"


class ChatEndpoint:
    """The route, as an ASGI application: it answers and watches the connection at once."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service = self._service
        fields = select(parse(await read_body(request, service.options.max_body_bytes)), "chat")
        chat = convert(fields, ChatRequest)
        service.check_model(chat.model)
        ready = service.ready()
        room = sampling_params(chat, service.defaults, service.options).max_tokens or 1
        prompt = await service.prompter.chat(chat.messages, max_context=ready.max_context, room=room)
        answer = ChatAnswer(service, chat, prompt, scope["tenant"])
        headers = truncation_headers(prompt)
        if chat.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            whole = await while_connected(receive, answer.whole())
            await JsonResponse(whole, headers)(scope, receive, send)


class JsonResponse(Response):
    """A struct as JSON."""

    media_type = "application/json"

    def __init__(self, value: Any, headers: list[tuple[bytes, bytes]] | None = None, status: int = 200) -> None:
        super().__init__(msgspec.json.encode(value), status)
        self.raw_headers += headers or []


def truncation_headers(prompt: Prompt) -> list[tuple[bytes, bytes]]:
    """Says in the headers, too, that something was left out."""
    if prompt.truncation is None:
        return []
    cut = prompt.truncation
    return [(b"x-espalier-truncated", f"messages={cut.dropped_messages}, tokens={cut.dropped_tokens}".encode())]


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    return [Route("/v1/chat/completions", ChatEndpoint(service), methods=["POST"])]
