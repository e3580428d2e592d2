"""From messages to tokens by the checkpoint's chat template. Imports no torch.

What the template writes may be special tokens; what users wrote never is (see `user_text`). For messages that spell no
marker, the tokens are those of transformers' apply_chat_template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from espalier.engine.checkpoint import read_json
from espalier.engine.errors import CheckpointError, TemplateError
from espalier.engine.template_environment import make_environment
from espalier.engine.tokenizer import Tokenizer
from espalier.engine.user_text import UserText

RESERVED = frozenset(
    "messages conversation tools documents add_generation_prompt continue_final_message chat_template tokenize "
    "tokenizer_kwargs return_dict return_tensors return_assistant_tokens_mask padding truncation max_length".split()
)
"""Variables that are the server's: an attempt to set one is refused, as is one of a special token or a function."""
MESSAGE_CHARS = 300
"""How much of a template's own error message is passed on."""


class ChatTemplate:
    """A checkpoint's template, bound to its tokenizer.

    `tool_source` goes before `source` where a request has tools. `now` is the clock of templates that print a date.
    Raises CheckpointError for a template that is no Jinja.
    """

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        *,
        tool_source: str | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.text = source if tool_source is None else f"{tool_source}\n{source}"  # what models' habits show in
        self._tokenizer, self._user_text = tokenizer, UserText(tokenizer.markers)
        self._environment = make_environment(now)
        self._template = self._compiled(source)
        self._tool_template = self._template if tool_source is None else self._compiled(tool_source)
        self._taken = RESERVED | set(tokenizer.named_tokens) | set(self._environment.globals)

    @classmethod
    def load(
        cls, folder: Path, tokenizer: Tokenizer, *, now: Callable[[], datetime] = datetime.now
    ) -> ChatTemplate | None:
        """The checkpoint's template, None if it has none. Raises CheckpointError."""
        sources = _sources(folder)
        if "default" not in sources:
            return None
        return cls(sources["default"], tokenizer, tool_source=sources.get("tool_use"), now=now)

    def render(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as text; `variables` are those that this template knows.

        Raises TemplateError, with the template's own message if it refuses.
        """
        return self._user_text.restored(self._render(messages, tools, add_generation_prompt, variables or {}))

    def opening(self) -> str:
        """What the template writes before an answer; "" where it doesn't say so of a plain question."""
        asked = [{"role": "user", "content": "?"}]
        try:
            before, whole = self.render(asked, add_generation_prompt=False), self.render(asked)
        except TemplateError:
            return ""
        return whole[len(before) :] if whole.startswith(before) else ""

    def encode(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The conversation as token ids. Raises TemplateError."""
        text = self.written(messages, tools=tools, add_generation_prompt=add_generation_prompt, variables=variables)
        return self._tokenizer.encode_aliased(text)

    def written(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as text for `Tokenizer.encode_aliased`, or parts of it for that: markers stand as aliases.

        Raises TemplateError.
        """
        return self._user_text.aliased(self._render(messages, tools, add_generation_prompt, variables or {}))

    def _compiled(self, source: str) -> jinja2.Template:
        try:
            parsed = self._environment.parse(source)
            self._user_text.exchange_searches(parsed)
            return self._environment.from_string(parsed)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template can't be read: {error}") from error

    def _render(self, messages: Any, tools: Any, add_generation_prompt: bool, variables: Mapping[str, Any]) -> str:
        if taken := sorted(self._taken & set(variables)):
            raise TemplateError(
                f"the template variables {taken} are set by the server; take them out", param="chat_template_kwargs"
            )
        template = self._tool_template if tools else self._template
        try:
            return template.render(
                messages=self._user_text.exchanged(messages),
                tools=self._user_text.exchanged(tools or None),
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._tokenizer.named_tokens,
                **self._user_text.exchanged(variables),
            )
        except jinja2.TemplateError as error:
            said = self._user_text.restored(str(error))[:MESSAGE_CHARS]
            raise TemplateError(f"the chat template refuses the messages: {said}", param="messages") from error
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
            raise TemplateError(
                f"the chat template fails on the messages ({type(error).__name__})", param="messages"
            ) from error


def _sources(folder: Path) -> dict[str, str]:
    """The checkpoint's templates by name, 'default' among them; a file of its own goes before tokenizer_config.json."""
    found: dict[str, str] = {}
    for name in ("tokenizer_config.json", "chat_template.json"):
        if (folder / name).exists():
            found |= _named(read_json(folder / name).get("chat_template"), name)
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            found |= {"default": path.read_text(encoding="utf-8")}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path.name} can't be read: {error}") from error
    return found


def _named(template: Any, file: str) -> dict[str, str]:
    """One template, or a list of named ones."""
    if template is None:
        return {}
    entries = template if isinstance(template, list) else [{"name": "default", "template": template}]
    try:
        named = {entry["name"]: entry["template"] for entry in entries}
    except (TypeError, KeyError):
        named = {}
    if not named or not all(isinstance(text, str) for text in (*named, *named.values())):
        raise CheckpointError(f"{file}: chat_template is neither a text nor a list of named texts")
    return named
