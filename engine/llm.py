"""A model for offline use: prompts in, answers out, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.engine import Engine
from espalier.engine.errors import EngineError, RequestError
from espalier.engine.loader import load
from espalier.engine.messages import (
    FinishReason,
    Generate,
    Output,
    PartEvent,
    PartText,
    SamplingParams,
    TokenLogprob,
    Usage,
)
from espalier.engine.options import EngineOptions

Prompt = str | Sequence[int]
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer: its text and tokens, why it ended, what it used.

    Where the constraint names parts, `parts` says which part each piece is, and `text` is that of all of them.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    usage: Usage
    logprobs: list[TokenLogprob] | None = None
    parts: tuple[PartEvent, ...] = ()


class LLM:
    """A loaded model. `LLM("folder-or-hub-id", max_context=4096)`; options are those of `EngineOptions`.

    Raises CheckpointError or DoesNotFitError. Not safe for several threads.
    """

    def __init__(self, model: str = "bundled", **options: Any) -> None:
        loaded = load(EngineOptions(model=model, **options))
        self.engine = Engine(EngineOptions(model=model, **options), loaded=loaded)
        self.tokenizer = loaded.tokenizer
        self.chat_template = ChatTemplate.load(loaded.folder, loaded.tokenizer)
        self._ids = count()

    def generate(self, prompts: Prompt | Sequence[Prompt], params: SamplingParams | None = None) -> list[Completion]:
        """One answer for each prompt (text or token ids), all of them in one batch; a text is encoded plain.

        Raises RequestError if a prompt can't be served as asked; none is then computed.
        """
        several = _split(prompts)
        encoded = [
            self.tokenizer.encode(p, add_special_tokens=True) if isinstance(p, str) else list(p) for p in several
        ]
        return self._run(encoded, params or SamplingParams())

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        tools: list[dict[str, Any]] | None = None,
    ) -> Completion:
        """The model's next message in a conversation of {"role", "content"} messages."""
        return self._run([self._encode(messages, tools)], params or SamplingParams())[0]

    def stream(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Iterator[str]:
        """As `chat`, text by text as it comes."""
        request_id = f"llm-{next(self._ids)}"
        self.engine.submit(Generate(request_id, self._encode(messages, None), params or SamplingParams()))
        try:
            while self.engine.has_work():
                for output in self.engine.step().outputs:
                    if output.request_id == request_id:
                        _check(output)
                        if text := _text(output):
                            yield text
        finally:
            self.engine.abort(request_id)

    def _encode(self, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> list[int]:
        if self.chat_template is None:
            raise RequestError("this checkpoint has no chat template; use generate()", param="messages")
        return self.chat_template.encode([dict(message) for message in messages], tools=tools)

    def _run(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        ids = [f"llm-{next(self._ids)}" for _ in prompts]
        try:
            for request_id, token_ids in zip(ids, prompts, strict=True):
                self.engine.submit(Generate(request_id, token_ids, params))
            parts: dict[str, list[Output]] = {request_id: [] for request_id in ids}
            while self.engine.has_work():
                for output in self.engine.step().outputs:
                    _check(output)
                    parts.setdefault(output.request_id, []).append(output)
        finally:
            for request_id in ids:
                self.engine.abort(request_id)
        return [_join(parts[request_id]) for request_id in ids]


def _split(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        return [prompts]
    token_ids = [item for item in prompts if isinstance(item, int)]
    return [token_ids] if token_ids else [item for item in prompts if not isinstance(item, int)]


def _check(output: Output) -> None:
    if output.finish_reason == "error":
        raise EngineError(f"{output.error_code}: {output.error_message}")


def _join(outputs: list[Output]) -> Completion:
    last = outputs[-1]
    assert last.finish_reason is not None
    logprobs = [entry for output in outputs for entry in output.logprobs or ()]
    return Completion(
        text="".join(map(_text, outputs)),
        token_ids=[token_id for output in outputs for token_id in output.token_ids],
        finish_reason=last.finish_reason,
        usage=last.usage,
        logprobs=logprobs if any(output.logprobs is not None for output in outputs) else None,
        parts=tuple(part for output in outputs for part in output.parts),
    )


def _text(output: Output) -> str:
    return output.text + "".join(part.text for part in output.parts if isinstance(part, PartText))
