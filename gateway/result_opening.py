"""What a chat template writes between an answer that calls tools and the first result: known while the tools run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.errors import TemplateError

_CALL_ID = "call00000"  # nine letters and digits, on which some templates insist
_ASKED: list[dict[str, Any]] = [
    {"role": "user", "content": "?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": _CALL_ID, "type": "function", "function": {"name": "f", "arguments": {}}}],
    },
]


@dataclass(frozen=True, slots=True)
class ResultOpening:
    """The token that ends an answer, and those up to the first result's text."""

    end_token: int
    token_ids: tuple[int, ...]

    def behind(self, answer_ids: Sequence[int], end_tokens: frozenset[int]) -> list[int] | None:
        """An answer's tokens as the next prompt repeats them, with the opening; None if it ended in another way."""
        if answer_ids and answer_ids[-1] == self.end_token:
            return [*answer_ids, *self.token_ids]
        if answer_ids and answer_ids[-1] in end_tokens:
            return None
        return [*answer_ids, self.end_token, *self.token_ids]


def result_opening(template: ChatTemplate, end_tokens: frozenset[int]) -> ResultOpening | None:
    """The opening of a template; None where it shows none that does not depend on what was called."""
    try:
        asked = template.encode(_ASKED, add_generation_prompt=False)
        one, other = (template.encode([*_ASKED, _result(text)], add_generation_prompt=False) for text in "0{")
    except TemplateError:
        return None
    alike = [left for left, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    ends = [at for at, token in enumerate(asked) if token in end_tokens]
    if not ends or alike[: ends[-1] + 1] != asked[: ends[-1] + 1]:
        return None
    return ResultOpening(asked[ends[-1]], tuple(alike[ends[-1] + 1 :]))


def _result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": _CALL_ID, "name": "f", "content": text}
