"""From Python's words for null, true and false to JSON's, in literals that come in pieces."""

from __future__ import annotations

_WORDS = {"T": "true", "F": "false", "N": "null"}


class JsonWords:
    """Reads Python literals that are JSON but for these words; letters come out one for one."""

    __slots__ = ("_is_escaped", "_is_string", "_rest")

    def __init__(self) -> None:
        self._is_string = self._is_escaped = False
        self._rest = ""  # of a JSON word

    def feed(self, text: str) -> str:
        """The same in JSON."""
        return "".join(map(self._letter, text))

    def _letter(self, letter: str) -> str:
        if self._is_string:
            self._is_string = self._is_escaped or letter != '"'
            self._is_escaped = letter == "\\" and not self._is_escaped
            return letter
        if self._rest:
            letter, self._rest = self._rest[0], self._rest[1:]
            return letter
        if letter in _WORDS:
            letter, self._rest = _WORDS[letter][0], _WORDS[letter][1:]
        elif letter == '"':
            self._is_string = True
        return letter
