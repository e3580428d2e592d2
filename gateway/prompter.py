"""From messages or text to token ids that fit the context. Tokenizing runs in threads, never on the event loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.errors import ContextOverflowError
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.errors import invalid
from espalier.gateway.history import Plain, drop_oldest, plain_messages
from espalier.gateway.options import GatewayOptions
from espalier.gateway.wire.answers import Truncation
from espalier.gateway.wire.requests import Message
from espalier.sessions.path import Path as History
from espalier.sessions.splice import Splice, splice
from espalier.sessions.value import digest

T = TypeVar("T")
# Two, so that one huge prompt does not hold up the others; the tokenizer runs without the interpreter's lock.
THREADS = 2
# Normalizing shortens a text, composed letters and ligatures most, but never to less than this part.
SHORTENING = 4


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids, what was left out to make them fit, and how they continue a session's history, if they do.

    `messages` are those that the template wrote; `history_len` is the length of the context that is continued.
    """

    token_ids: list[int]
    truncation: Truncation | None = None
    splice: Splice | None = None
    messages: Sequence[Plain] = ()
    history_len: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a context holds, and how many of them the answer asks for (None: as many as are left).

    `truncates` says whether a prompt that is longer loses its oldest part, or is refused (None: as the server does).
    """

    context: int
    answer: int | None = None
    truncates: bool | None = None

    @property
    def prompt(self) -> int:
        """Most tokens of a prompt."""
        return self.context - (self.answer or 1)

    def overflow(self, prompt_len: int, field: str) -> ContextOverflowError:
        """The error for a prompt that leaves too little."""
        asked = f" and {self.answer} are asked for" if self.answer else ""
        left = max(0, self.context - prompt_len)
        return ContextOverflowError(
            f"the maximum context length is {self.context} tokens; the prompt has at least {prompt_len}{asked}. "
            f"Shorten the prompt or ask for at most {left}.",
            param=field if prompt_len >= self.context else "max_tokens",
        )


UNBOUNDED = Room(2**62)


class Prompter:
    """Renders and encodes for one model."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None, options: GatewayOptions) -> None:
        self.tokenizer, self.template, self._options = tokenizer, template, options
        self._threads: CapacityLimiter | None = None
        aliases, added = tokenizer.markers.aliases, tokenizer.added_tokens
        self._ends = {aliases[name]: added[name] for name in aliases if added[name] in tokenizer.end_token_ids}
        # What stands for a token may change with the model; a session outlives both.
        self._vocabulary = digest(msgspec.msgpack.encode(tokenizer.text_bytes(skip_special=False)))
        self._longest_token = max((len(token) for token in tokenizer.token_bytes if token), default=1)

    @classmethod
    def load(cls, folder: Path, options: GatewayOptions) -> Prompter:
        """Read a checkpoint's tokenizer and template. Raises CheckpointError."""
        tokenizer = Tokenizer.load(folder)
        return cls(tokenizer, ChatTemplate.load(folder, tokenizer), options)

    async def chat(
        self,
        messages: Sequence[Message],
        room: Room,
        *,
        tools: list[Any] | None = None,
        generation: bool = True,
        history: History | None = None,
    ) -> Prompt:
        """The prompt of a conversation. Raises ApiError, TemplateError, ContextOverflowError.

        With the `history` that the messages continue, whose own they begin with, its tokens are kept as they are and
        only what is new is encoded.
        """
        template = self.template
        if template is None:
            raise invalid("this model has no chat template; use /v1/completions", "messages")
        plain = plain_messages(messages)
        self._check_bytes(sum(_num_bytes(message) for message in plain) + _num_bytes(tools or []), room, "messages")

        def encode(kept: list[Plain]) -> Prompt:
            if history is None:
                token_ids = template.encode(kept, tools=tools, add_generation_prompt=generation)
                return Prompt(token_ids, messages=kept)
            return self._continued(history, kept, template.written(kept, tools=tools))

        return await self._in_thread(lambda: self._fit_messages(plain, room, encode))

    async def text(self, prompt: str | list[int], room: Room, *, special: bool = True) -> Prompt:
        """The prompt of a text or of token ids. Raises ApiError, ContextOverflowError."""
        if isinstance(prompt, list):
            return self._fit_tokens(prompt, room)
        self._check_bytes(len(prompt.encode()), room, "prompt")
        return await self._in_thread(
            lambda: self._fit_tokens(self.tokenizer.encode(prompt, add_special_tokens=special), room)
        )

    def _continued(self, history: History, messages: list[Plain], written: str) -> Prompt:
        keep = self._options.rewritten_history == "tokens"
        spliced = splice(
            history.turns, written, self.tokenizer.encode_aliased, self._ends, keep=keep, vocabulary=self._vocabulary
        )
        context = history.token_ids()
        token_ids = [*context[: spliced.kept_len], *spliced.new_ids]
        return Prompt(token_ids, splice=spliced, messages=messages, history_len=len(context))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = CapacityLimiter(THREADS)
        return await to_thread.run_sync(work, limiter=self._threads)

    def _truncates(self, room: Room) -> bool:
        return self._options.overflow == "truncate" if room.truncates is None else room.truncates

    def _check_bytes(self, size: int, room: Room, field: str) -> None:
        """Refuse what is too long in bytes before seconds are spent on tokenizing it."""
        most = self._options.max_prompt_bytes
        if size > most:
            raise invalid(f"the prompt has {size} bytes; max_prompt_bytes is {most}", field)
        at_least = size // (self._longest_token * SHORTENING)
        if not self._truncates(room) and at_least > room.context:
            raise room.overflow(at_least, field)

    def _fit_messages(self, messages: list[Plain], room: Room, encode: Callable[[list[Plain]], Prompt]) -> Prompt:
        whole = encode(messages)
        whole_len = len(whole.token_ids)
        if whole_len <= room.prompt:
            return whole
        if not self._truncates(room):
            raise room.overflow(whole_len, "messages")
        kept = drop_oldest(messages, lambda some: len(encode(some).token_ids) <= room.prompt)
        if kept is None:
            raise ContextOverflowError(
                f"the system messages and the last turn alone are longer than the {max(0, room.prompt)} tokens that "
                "are left for them; shorten them or ask for fewer tokens",
                param="messages",
            )
        fit = encode(kept)
        return replace(fit, truncation=Truncation(len(messages) - len(kept), whole_len - len(fit.token_ids)))

    def _fit_tokens(self, token_ids: list[int], room: Room) -> Prompt:
        if len(token_ids) <= room.prompt:
            return Prompt(token_ids)
        if not self._truncates(room) or room.prompt < 1:
            raise room.overflow(len(token_ids), "prompt")
        return Prompt(token_ids[-room.prompt :], Truncation(0, len(token_ids) - room.prompt))


def _num_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
