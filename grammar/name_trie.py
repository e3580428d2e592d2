"""Tries of texts: the names that an object knows or has used, the texts of a choice. Nodes are made when looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Texts = list[tuple[bytes, int]]


class Trie:
    """Texts that begin alike: `place` is that of the text which ends here, -1 if none does."""

    __slots__ = ("_below", "_children", "_depth", "_first", "_last", "_texts", "place")

    def __init__(self, texts: Texts, first: int, last: int, depth: int) -> None:
        self._texts, self._first, self._last, self._depth = texts, first, last, depth
        ends_here = first < last and len(texts[first][0]) == depth
        self.place = texts[first][1] if ends_here else -1
        self._children: dict[int, Trie] | None = None
        self._below: tuple[int, ...] | None = None

    @property
    def children(self) -> dict[int, Trie]:
        """The nodes behind one more byte, ascending."""
        if self._children is None:
            self._children = {}
            texts, depth = self._texts, self._depth
            first = self._first + (self.place >= 0)
            while first < self._last:
                byte, last = texts[first][0][depth], first + 1
                while last < self._last and texts[last][0][depth] == byte:
                    last += 1
                self._children[byte] = Trie(texts, first, last, depth + 1)
                first = last
        return self._children

    @property
    def below(self) -> tuple[int, ...]:
        """The places of the texts from here on, ascending."""
        if self._below is None:
            self._below = tuple(sorted(place for _, place in self._texts[self._first : self._last]))
        return self._below

    def rests(self) -> Iterator[tuple[bytes, int]]:
        """The rest of each text from here on, and its place; in the order of their bytes."""
        for text, place in self._texts[self._first : self._last]:
            yield text[self._depth :], place

    def completion(self, place: int) -> bytes:
        """The rest of the text at a place below."""
        return next(rest for rest, at in self.rests() if at == place)


def trie_of(texts: Iterable[bytes]) -> Trie:
    """The trie of some texts; a place is the number in their order, the last one where a text comes twice."""
    ordered = sorted({text: place for place, text in enumerate(texts)}.items())
    return Trie(ordered, 0, len(ordered), 0)
