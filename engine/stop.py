"""Finds stop strings in text that comes in pieces, and holds back what may still become one.

Knuth, Morris and Pratt (1977), one automaton for each stop string: linear time, wherever the pieces are cut.
"""

from __future__ import annotations

from typing import NamedTuple


class Cut(NamedTuple):
    """Text that is settled, and the stop string that ended it, if one did."""

    text: str
    stop: str | None


class _Automaton:
    __slots__ = ("fallback", "state", "stop")

    def __init__(self, stop: str) -> None:
        self.stop, self.state = stop, 0
        self.fallback = [0] * (len(stop) + 1)
        border = 0
        for at in range(1, len(stop)):
            while border and stop[at] != stop[border]:
                border = self.fallback[border]
            border += stop[at] == stop[border]
            self.fallback[at + 1] = border

    def feed(self, character: str) -> bool:
        while self.state and self.stop[self.state] != character:
            self.state = self.fallback[self.state]
        self.state += self.stop[self.state] == character
        return self.state == len(self.stop)


class StopMatcher:
    """`feed` returns the settled part of the text; `flush` the rest when nothing more comes."""

    __slots__ = ("_automata", "_held", "_include")

    def __init__(self, stops: tuple[str, ...], *, include: bool = False) -> None:
        self._automata = [_Automaton(stop) for stop in stops]
        self._held = ""
        self._include = include

    def feed(self, text: str) -> Cut:
        """Take more text. The stop string that ends first wins, of those the longest; it is cut off unless included."""
        if not self._automata:
            return Cut(text, None)
        whole = self._held + text
        for at, character in enumerate(text, len(self._held)):
            found = [automaton.stop for automaton in self._automata if automaton.feed(character)]
            if found:
                stop = max(found, key=len)
                self._held = ""
                return Cut(whole[: at + 1 if self._include else at + 1 - len(stop)], stop)
        hold = max(automaton.state for automaton in self._automata)
        self._held = whole[len(whole) - hold :]
        return Cut(whole[: len(whole) - hold], None)

    def flush(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held
