"""Markers: added tokens that structure a prompt (`<|im_end|>`, `<tool_call>`, `[INST]`). Users never write one.

tokenizer.json would turn every text that spells a marker into its token. Here each marker is renamed in the
tokenizer to an alias of private characters, which are taken out of users' texts first. So a text is plain by default,
whatever it spells, and who means the token writes the alias.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# The end of Unicode's last private plane is ours: telltales (see `user_text`), then the two borders of an alias.
FIRST_OWN, LAST_OWN = 0x10FF00, 0x10FFFF
_OPEN, _CLOSE = chr(0x10FFFE), chr(0x10FFFF)
_FIRST_NUMBER = 0xF0000
_OWN = re.compile(f"[{chr(FIRST_OWN)}-{chr(LAST_OWN)}]")
_BRACKETED = re.compile(r"[<\[{(|].*[>\])}|]", re.DOTALL)


def is_marker(token: Mapping[str, Any]) -> bool:
    """Whether an entry of added_tokens structures prompts; the others (runs of spaces, words) are vocabulary."""
    return bool(token.get("special")) or _BRACKETED.fullmatch(token["content"]) is not None


def without_own(text: str) -> str:
    """The text with our private characters, and halves of surrogate pairs, as U+FFFD."""
    if not text.isascii():
        text = _OWN.sub("\ufffd", text)
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Markers:
    """The markers of a tokenizer and their aliases."""

    def __init__(self, contents: Iterable[str]) -> None:
        self.aliases = {
            content: _OPEN + chr(_FIRST_NUMBER + number) + _CLOSE for number, content in enumerate(contents)
        }
        longest_first = sorted(self.aliases, key=len, reverse=True)
        self._spelled = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def meant(self, text: str) -> str:
        """The text with every marker that it spells as its alias."""
        if self._spelled is None:
            return text
        return self._spelled.sub(lambda found: self.aliases[found[0]], text)

    def renamed(self, spec: dict[str, Any]) -> dict[str, Any]:
        """A tokenizer.json with the aliases for the markers. Ids stay, since their order does."""
        model, alias = dict(spec["model"]), self.aliases
        vocab = model.get("vocab")
        if isinstance(vocab, dict):
            model["vocab"] = {alias.get(token, token): token_id for token, token_id in vocab.items()}
        elif isinstance(vocab, list):
            model["vocab"] = [[alias.get(token, token), score] for token, score in vocab]
        if isinstance(model.get("merges"), list):
            # A marker that plain text could grow into by merging would be no marker.
            model["merges"] = [merge for merge in model["merges"] if not self._makes(merge)]
        if model.get("unk_token") in alias:
            model["unk_token"] = alias[model["unk_token"]]
        tokens = [token | {"content": alias.get(token["content"], token["content"])} for token in spec["added_tokens"]]
        return spec | {"model": model, "added_tokens": tokens}

    def _makes(self, merge: str | list[str]) -> bool:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        return left + right in self.aliases or left in self.aliases or right in self.aliases
