"""How JSON is spelled: white space between its tokens, the order of members, escapes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from espalier.grammar.state import State, Step

MAX_INDENT = 64  # spaces or tabs after a line break
_SPACES = b" \t"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[,:]|true|false|null')
_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|True|False|None')
_WORDS = {"true": "True", "false": "False", "null": "None"}
_JSON_WORDS = {word.encode(): json_word.encode() for json_word, word in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a schema does not say about its JSON."""

    property_order: Literal["schema", "any"] = "schema"
    white_space: Literal["compact", "natural", "spaced"] = "compact"
    escapes: Literal["needed", "any"] = "needed"
    words: Literal["json", "python"] = "json"

    @property
    def is_natural(self) -> bool:
        """Whether there may be white space."""
        return self.white_space == "natural"

    @property
    def is_spaced(self) -> bool:
        """Whether one space follows each comma and colon."""
        return self.white_space == "spaced"

    @property
    def gaps(self) -> bytes:
        """What may stand between tokens, ascending."""
        return b"\n " if self.is_natural else b" " if self.is_spaced else b""

    def word(self, literal: str) -> str:
        """How null, true or false is written."""
        return _WORDS[literal] if self.words == "python" else literal

    def written(self, text: str) -> str:
        """Compact JSON, or a stretch of it that begins outside of strings, as it is written here."""
        if self.words == "json" and not self.is_spaced:
            return text
        return _TOKEN.sub(lambda found: self._sign(found[0]), text)

    def json(self, text: bytes) -> bytes:
        """What was written, as JSON."""
        if self.words == "json":
            return text
        return _WORD.sub(lambda found: _JSON_WORDS.get(found[0], found[0]), text)

    def _sign(self, sign: str) -> str:
        if sign in _WORDS:
            return self.word(sign)
        return f"{sign} " if sign in ",:" and self.is_spaced else sign


class Gap(State):
    """White space before a token: one space, or a line break and an indentation. `then` allows no white space."""

    __slots__ = ("_then", "_width", "is_between")

    def __init__(self, then: State, width: int = 0) -> None:
        super().__init__()
        self._then, self._width = then, width
        self.is_between = then.is_between

    def make(self, byte: int) -> Step:
        """More indentation, or the token."""
        if byte in _SPACES and self._width < MAX_INDENT:
            return Gap(self._then, self._width + 1)
        return self._then.step(byte)

    def candidates(self) -> list[int]:
        """Those of the token, and indentation."""
        return sorted({*_SPACES, *self._then.candidates()})

    def completion(self) -> tuple[bytes, int]:
        """None of it is needed."""
        return self._then.completion()


def gap(byte: int, then: State) -> State | None:
    """The state after a first byte of white space before `then`; None if the byte is none."""
    if byte == 0x20:
        return then
    return Gap(then) if byte == 0x0A else None
