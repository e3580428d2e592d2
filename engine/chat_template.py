"""From messages to tokens by the checkpoint's chat template. Imports no torch.

What the template writes may be special tokens; what users wrote never is. So every special token that a user's string
spells is broken by a private character before rendering, and mended when its piece is encoded as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from espalier.engine.checkpoint import read_json
from espalier.engine.errors import CheckpointError, TemplateError
from espalier.engine.template_environment import make_environment
from espalier.engine.tokenizer import Tokenizer

BREAK = "\U0010fffe"
"""A code point that is no character and never will be; taken out of users' strings first."""
RESERVED = frozenset(
    {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "chat_template", "tokenize"}
)


class ChatTemplate:
    """A checkpoint's template, bound to its tokenizer. `now` is the clock of templates that print a date."""

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        *,
        eos_token: str | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        try:
            self._template = make_environment(now).from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template can't be read: {error}") from error
        self._tokenizer, self._eos_token = tokenizer, eos_token
        spelled = sorted(tokenizer.added_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, spelled))) if spelled else None

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer) -> ChatTemplate | None:
        """The checkpoint's template, None if it has none."""
        config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        source = _source(folder, config)
        eos = config.get("eos_token")
        return (
            None
            if source is None
            else cls(source, tokenizer, eos_token=eos.get("content") if isinstance(eos, dict) else eos)
        )

    def render(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The conversation as text. Raises TemplateError with the template's own message if it refuses."""
        return self._render(messages, tools, add_generation_prompt, variables).replace(BREAK, "")

    def encode(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> list[int]:
        """The conversation as token ids. Raises TemplateError."""
        broken = self._broken(messages)
        text = self._render(broken, self._broken(tools), add_generation_prompt, variables)
        if BREAK not in text:
            return self._tokenizer.encode(text, parse_special=True)
        return self._encode_pieces(text)

    def _render(self, messages: Any, tools: Any, add_generation_prompt: bool, variables: Mapping[str, Any]) -> str:
        if taken := RESERVED & set(variables):
            raise TemplateError(
                f"template variables {sorted(taken)} are set by the server", param="chat_template_kwargs"
            )
        try:
            return self._template.render(
                messages=messages,
                tools=tools or None,
                add_generation_prompt=add_generation_prompt,
                bos_token=self._tokenizer.bos_token or "",
                eos_token=self._eos_token or "",
                **variables,
            )
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template refuses the messages: {error}", param="messages") from error
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
            raise TemplateError(
                f"the chat template fails on the messages ({type(error).__name__})", param="messages"
            ) from error

    def _broken(self, value: Any) -> Any:
        """`value` with every special token in its strings broken after its first character."""
        if isinstance(value, str):
            if self._special is None:
                return value
            clean = value.replace(BREAK, "")
            return self._special.sub(lambda found: found[0][0] + BREAK + found[0][1:], clean)
        if isinstance(value, Mapping):
            return {self._broken(key): self._broken(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._broken(item) for item in value]
        return value

    def _encode_pieces(self, text: str) -> list[int]:
        """Special tokens that the template wrote by their ids, the text between them plain."""
        assert self._special is not None
        token_ids: list[int] = []
        at = 0
        for found in self._special.finditer(text):
            token_ids += self._encode_text(text[at : found.start()])
            token_ids.append(self._tokenizer.added_tokens[found[0]])
            at = found.end()
        return token_ids + self._encode_text(text[at:])

    def _encode_text(self, piece: str) -> list[int]:
        return self._tokenizer.encode(piece.replace(BREAK, "")) if piece else []


def _source(folder: Path, config: dict[str, Any]) -> str | None:
    for name in ("chat_template.jinja", "chat_template.json"):
        path = folder / name
        if path.exists():
            text = path.read_text(encoding="utf-8")
            return text if path.suffix == ".jinja" else str(json.loads(text)["chat_template"])
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default")
    return template
