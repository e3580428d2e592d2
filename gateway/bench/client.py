"""One request to an OpenAI-compatible server, streamed and timed. What goes wrong is a kind of error, not an exit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from espalier.gateway.answer_stream import AnswerReader, Counts, Delta, StreamError, counts_of, error_of
from espalier.gateway.bench.sample import Sample

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
UNTIL_CONNECTED_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and how it is asked; `extra` goes into every body."""

    url: str
    model: str
    api: str = "chat"
    api_key: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    timeout_s: float = 600.0

    def connect(self) -> httpx.AsyncClient:
        """A client with as many connections as it needs."""
        headers = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        timeout = httpx.Timeout(self.timeout_s, connect=UNTIL_CONNECTED_S)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, limits=limits)

    def body(self, messages: list[dict[str, str]], max_tokens: int) -> dict[str, Any]:
        """A streamed request."""
        asked: dict[str, Any] = {"messages": messages}
        if self.api == "completions":
            asked = {"prompt": "\n".join(message["content"] for message in messages)}
        return {
            "model": self.model,
            **asked,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.extra,
        }


async def models(client: httpx.AsyncClient) -> list[str]:
    """The names of the models that the server has. Raises httpx.HTTPError."""
    answer = await client.get("/v1/models")
    answer.raise_for_status()
    return [str(card["id"]) for card in answer.json()["data"]]


async def count_prompt(client: httpx.AsyncClient, target: Target, text: str) -> int | None:
    """Tokens of a prompt as the server counts them; None if it does not say. Raises httpx.HTTPError."""
    body = target.body([{"role": "user", "content": text}], 1) | {"stream": False}
    del body["stream_options"]
    answer = await client.post(PATHS[target.api], json=body)
    answer.raise_for_status()
    counts = counts_of(answer.json())
    return counts.prompt if counts and counts.prompt else None


async def ask(
    client: httpx.AsyncClient,
    target: Target,
    messages: list[dict[str, str]],
    max_tokens: int,
    *,
    turn: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Sample:
    """Send one request and time its answer. A cancelled one raises; every other failure is in `Sample.error`."""
    watch = _Watch(Sample(turn=turn), clock)
    try:
        body = target.body(messages, max_tokens)
        async with client.stream("POST", PATHS[target.api], json=body) as answer:
            if answer.status_code != 200:
                kind, _ = error_of(await answer.aread())
                return watch.failed(f"http_{answer.status_code}:{kind}")
            reader = AnswerReader()
            async for data in answer.aiter_bytes():
                watch.note(reader.feed(data))
    except StreamError as error:
        return watch.failed(f"stream:{error.kind}")
    except httpx.TimeoutException:
        return watch.failed("timeout")
    except httpx.HTTPError as error:
        return watch.failed(f"connection:{type(error).__name__}")
    return watch.finished()


class _Watch:
    """Turns deltas into a sample."""

    def __init__(self, sample: Sample, clock: Callable[[], float]) -> None:
        self._sample, self._clock, self._began = sample, clock, clock()
        self._last_s = 0.0
        self._texts: list[str] = []
        self._counts: Counts | None = None
        self._has_ended = False

    def note(self, deltas: list[Delta]) -> None:
        """Deltas that came in one read came at one time: of several, one gap is counted, not zeros beside it."""
        now = self._clock() - self._began
        for delta in deltas:
            self._counts = delta.counts or self._counts
            self._has_ended = self._has_ended or delta.finish_reason is not None
            if delta.text:
                self._texts.append(delta.text)
        if any(delta.text for delta in deltas):
            if self._sample.first_token_s is None:
                self._sample.first_token_s = now
            else:
                self._sample.gaps_s.append(now - self._last_s)
            self._last_s = now

    def failed(self, kind: str) -> Sample:
        """The sample of a request that failed."""
        self._sample.error = kind
        self._sample.total_s = self._clock() - self._began
        return self._sample

    def finished(self) -> Sample:
        """The sample of a request whose stream ended."""
        if not self._has_ended:
            return self.failed("stream:cut")
        sample = self._sample
        sample.total_s = self._last_s or self._clock() - self._began
        sample.text = "".join(self._texts)
        sample.is_counted = self._counts is not None
        counts = self._counts or Counts(0, 0, len(self._texts))
        sample.prompt_tokens, sample.cached_tokens = counts.prompt, counts.cached
        sample.completion_tokens = counts.completion
        return sample
