"""From messages or text to token ids that fit the context. Tokenizing runs in threads, never on the event loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.errors import ContextOverflowError
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.errors import invalid
from espalier.gateway.options import GatewayOptions
from espalier.gateway.wire.answers import Truncation
from espalier.gateway.wire.requests import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids, and what was left out to make them fit."""

    token_ids: list[int]
    truncation: Truncation | None = None


class Prompter:
    """Renders and encodes for one model."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None, options: GatewayOptions) -> None:
        self.tokenizer, self._template, self._options = tokenizer, template, options
        self._threads: CapacityLimiter | None = None

    @classmethod
    def load(cls, folder: Path, options: GatewayOptions) -> Prompter:
        """Read a checkpoint's tokenizer and template. Raises CheckpointError."""
        tokenizer = Tokenizer.load(folder)
        return cls(tokenizer, ChatTemplate.load(folder, tokenizer), options)

    async def chat(self, messages: list[Message], *, max_context: int, room: int, generation: bool = True) -> Prompt:
        """The prompt of a conversation, with `room` tokens of the context left for the answer."""
        plain = self._plain(messages)
        return await self._in_thread(lambda: self._fit_messages(plain, max_context - room, generation))

    async def text(self, prompt: str | list[int], *, max_context: int, room: int, special: bool = True) -> Prompt:
        """The prompt of a text or of token ids."""
        if isinstance(prompt, list):
            return self._fit_tokens(prompt, max_context - room)
        self._check_bytes(len(prompt.encode()))
        return await self._in_thread(
            lambda: self._fit_tokens(self.tokenizer.encode(prompt, add_special_tokens=special), max_context - room)
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            # Two, so that one huge prompt does not hold up the others; the tokenizer leaves the interpreter lock.
            self._threads = CapacityLimiter(2)
        return await to_thread.run_sync(work, limiter=self._threads)

    def _plain(self, messages: list[Message]) -> list[dict[str, Any]]:
        """Messages as chat templates expect them."""
        if not messages:
            raise invalid("messages is empty; at least one message is needed", "messages")
        if self._template is None:
            raise invalid("this model has no chat template; use /v1/completions", "messages")
        plain = [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]
        self._check_bytes(sum(len(json.dumps(message)) for message in plain))
        return plain

    def _check_bytes(self, size: int) -> None:
        if size > self._options.max_prompt_bytes:
            raise invalid(
                f"the prompt has {size} bytes; max_prompt_bytes is {self._options.max_prompt_bytes}", "messages"
            )

    def _encode(self, messages: list[dict[str, Any]], generation: bool) -> list[int]:
        assert self._template is not None
        return self._template.encode(messages, add_generation_prompt=generation)

    def _fit_messages(self, messages: list[dict[str, Any]], most: int, generation: bool) -> Prompt:
        token_ids = self._encode(messages, generation)
        whole = len(token_ids)
        if whole <= most or self._options.overflow == "error":
            return Prompt(token_ids)
        kept, dropped = list(messages), 0
        while len(token_ids) > most:
            oldest = next((at for at, message in enumerate(kept[:-1]) if message["role"] != "system"), None)
            if oldest is None:
                raise ContextOverflowError(
                    f"the system and last messages alone have {len(token_ids)} tokens, {most} are left for them; "
                    "shorten them or ask for fewer tokens",
                    param="messages",
                )
            del kept[oldest]
            dropped += 1
            # Neither an answer without its question nor a result without its call starts a conversation.
            while oldest < len(kept) - 1 and kept[oldest]["role"] in ("assistant", "tool"):
                del kept[oldest]
                dropped += 1
            token_ids = self._encode(kept, generation)
        return Prompt(token_ids, Truncation(dropped, whole - len(token_ids)))

    def _fit_tokens(self, token_ids: list[int], most: int) -> Prompt:
        if len(token_ids) <= most or self._options.overflow == "error" or most < 1:
            return Prompt(token_ids)
        return Prompt(token_ids[-most:], Truncation(0, len(token_ids) - most))


def _plain(message: Message, where: str) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "role": {"developer": "system", "function": "tool"}.get(message.role, message.role),
        "content": _text(message.content, where),
    }
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if reasoning := message.reasoning_content or message.reasoning:
        plain["reasoning_content"] = reasoning
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call.function.arguments)},
            }
            for call in message.tool_calls
        ]
    return plain


def _arguments(text: str) -> Any:
    """Templates write arguments as JSON of their own: give them the object where it is one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _text(content: str | list[dict[str, Any]] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for index, part in enumerate(content):
        kind, text = part.get("type", "text"), part.get("text")
        if kind not in ("text", "input_text", "output_text") or not isinstance(text, str):
            raise invalid(
                f"{where}.content[{index}] is of type {str(kind)[:64]!r}; this model reads parts of type text",
                f"{where}.content[{index}]",
            )
        texts.append(text)
    return "".join(texts)
