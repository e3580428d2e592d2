"""POST /v1/chat/completions, whole and streamed."""

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
from espalier.gateway.connection import read_body, while_connected
from espalier.gateway.parameters import select
from espalier.gateway.prompter import Prompt, Room
from espalier.gateway.response import JsonResponse, truncation_headers
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Job, Part, Service, total_usage
from espalier.gateway.sse import send_events
from espalier.gateway.wire import answers
from espalier.gateway.wire.answers import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
    finite,
)
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import ChatRequest, StreamOptions


class ChatAnswer:
    """The answer to one chat request, being made."""

    def __init__(
        self, service: Service, request: ChatRequest, params: SamplingParams, prompt: Prompt, tenant: str
    ) -> None:
        self._service, self._request = service, request
        self._jobs = [Job(prompt.token_ids, params, request.n, tenant=tenant, cache_salt=request.cache_salt)]
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(service.clock())
        self._extras: answers.Extras | UnsetType = answers.Extras(prompt.truncation) if prompt.truncation else UNSET
        self._latest: dict[int, EngineUsage] = {}

    async def whole(self) -> ChatCompletion:
        """All answers, complete."""
        texts = dict.fromkeys(range(self._request.n), "")
        logprobs: dict[int, list[answers.ContentLogprob]] = {index: [] for index in texts}
        last: dict[int, Part] = {}
        async with aclosing(self._service.stream(self._jobs)) as parts:
            async for part in parts:
                texts[part.at] += part.output.text
                logprobs[part.at] += self._content(part.output.logprobs)
                self._latest[part.at], last[part.at] = part.output.usage, part
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
                is_first = part.at not in self._latest
                self._latest[part.at] = part.output.usage
                if not (part.output.text or part.output.finish_reason or is_first or part.output.logprobs):
                    continue
                usage = total_usage(self._jobs, self._latest) if continuous else between
                yield self._chunk([self._choice(part, is_first)], usage)
        if options.include_usage:
            yield self._chunk([], total_usage(self._jobs, self._latest))

    def _choice(self, part: Part, is_first: bool) -> ChunkChoice:
        output = part.output
        return ChunkChoice(
            part.at,
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
                *spell(entry.token_id, finite(entry.logprob)),
                [answers.TopLogprob(*spell(top.token_id, finite(top.logprob))) for top in entry.top],
            )
            for entry in entries or ()
        ]


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
        params = sampling_params(chat, service.defaults, service.options)
        ready = service.ready()
        check(params, ready.vocab_size)
        room = Room(ready.max_context, params.max_tokens)
        prompt = await service.prompter.chat(chat.messages, room, tools=msgspec.to_builtins(chat.tools))
        answer = ChatAnswer(service, chat, params, prompt, scope["tenant"])
        headers = truncation_headers([prompt])
        if chat.stream:
            await while_connected(receive, send_events(send, answer.chunks(), headers))
        else:
            whole = await while_connected(receive, answer.whole())
            await JsonResponse(whole, headers)(scope, receive, send)


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    return [Route("/v1/chat/completions", ChatEndpoint(service), methods=["POST"])]
