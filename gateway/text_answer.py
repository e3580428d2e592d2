"""The answer to one request of text completions, whole and in chunks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import UNSET, UnsetType

from espalier.engine.messages import TokenLogprob
from espalier.engine.messages import Usage as EngineUsage
from espalier.gateway.service import Job, Part, Service, total_usage
from espalier.gateway.wire import answers
from espalier.gateway.wire.answers import Extras, TextChoice, TextCompletion, TextLogprobs, finite
from espalier.gateway.wire.requests import CompletionRequest, StreamOptions


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

    @property
    def answer_id(self) -> str:
        """What the answer is called."""
        return self._id

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


def _reason(part: Part) -> answers.FinishReason | None:
    reason = part.output.finish_reason
    return None if reason is None else "length" if reason == "length" else "stop"
