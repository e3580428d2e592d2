"""A conversation with an OpenAI-compatible server, turn by turn, kept by the client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from espalier.gateway.answer_stream import AnswerReader, Counts, StreamError, error_of


@dataclass(frozen=True, slots=True)
class Options:
    """How answers are drawn; None leaves it to the server."""

    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


class Dialogue:
    """The messages so far; `ask` adds two: the user's, and the answer as far as it was read."""

    def __init__(
        self,
        client: httpx.Client,
        options: Options | None = None,
        *,
        system: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._options = options or Options()
        self._clock = clock
        self.system: str | None = None
        self.messages: list[dict[str, str]] = []
        self.begin(system)
        self.model = self._first_model()

    def begin(self, system: str | None) -> None:
        """Forget everything but the system message."""
        self.system = system
        self.messages = [{"role": "system", "content": system}] if system else []

    def ask(self, text: str) -> Turn:
        """The next turn; nothing is sent before its texts are read."""
        self.messages.append({"role": "user", "content": text})
        return Turn(self._client, self._body(), self._clock, self._keep)

    def save(self, path: str) -> None:
        """Write the messages as JSON. Raises OSError."""
        Path(path).expanduser().write_text(json.dumps(self.messages, indent=1, ensure_ascii=False), encoding="utf-8")

    def _body(self) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self.model,
            "messages": list(self.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": self._options.temperature,
            "max_tokens": self._options.max_tokens,
            "seed": self._options.seed,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _keep(self, text: str) -> None:
        """Keep an answer; a question that got none goes too, so that it can be asked again."""
        if text:
            self.messages.append({"role": "assistant", "content": text})
        else:
            self.messages.pop()

    def _first_model(self) -> str:
        answer = self._client.get("/v1/models")
        answer.raise_for_status()
        return str(answer.json()["data"][0]["id"])


class Turn:
    """One answer: read `texts` to its end, then see how it went."""

    def __init__(
        self, client: httpx.Client, body: dict[str, object], clock: Callable[[], float], keep: Callable[[str], None]
    ) -> None:
        self._client, self._body, self._clock, self._keep = client, body, clock, keep
        self.counts: Counts | None = None
        self.finish_reason: str | None = None
        self.error: str | None = None
        self.first_token_s = self.total_s = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens after the first by the time that they took; None for fewer than two."""
        if self.counts is None or self.counts.completion < 2 or self.total_s <= self.first_token_s:
            return None
        return (self.counts.completion - 1) / (self.total_s - self.first_token_s)

    def texts(self) -> Generator[str, None, None]:
        """The answer's text as it comes; closing it ends the answer. Raises httpx.HTTPError if the line breaks."""
        kept: list[str] = []
        began = self._clock()
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=self._body) as answer:
                if answer.status_code != 200:
                    self.error = error_of(answer.read())[1]
                    return
                for text in self._read(answer, began):
                    kept.append(text)
                    yield text
        except StreamError as error:
            self.error = str(error)
        finally:
            self._keep("".join(kept))

    def _read(self, answer: httpx.Response, began: float) -> Iterator[str]:
        reader = AnswerReader()
        for data in answer.iter_bytes():
            for delta in reader.feed(data):
                now = self._clock() - began
                self.counts = delta.counts or self.counts
                self.finish_reason = delta.finish_reason or self.finish_reason
                if delta.text:
                    self.first_token_s = self.first_token_s or now
                    self.total_s = now
                    yield delta.text
