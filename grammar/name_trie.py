"""Tries of texts: the names that an object knows or has used, the texts of a choice. Nodes are made when looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

Texts = list[tuple[bytes, int]]


class Trie:
    """Texts that begin alike: `place` is that of the text which ends here, -1 if none does. Equal nodes of one trie are
    equal; those with a single text below are made anew each time, since most names are read rarely.
    """

    __slots__ = ("_below", "_children", "_depth", "_first", "_last", "_texts", "place")

    def __init__(self, texts: Texts, first: int, last: int, depth: int) -> None:
        self._texts, self._first, self._last, self._depth = texts, first, last, depth
        ends_here = first < last and len(texts[first][0]) == depth
        self.place = texts[first][1] if ends_here else -1
        self._children: dict[int, Trie] | None = None
        self._below: tuple[int, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trie) and self._texts is other._texts and self._key == other._key

    def __hash__(self) -> int:
        return hash((id(self._texts), self._key))

    @property
    def _key(self) -> tuple[int, int, int]:
        return self._first, self._last, self._depth

    @property
    def is_single(self) -> bool:
        """Whether only one text begins so."""
        return self._last - self._first == 1

    @property
    def single(self) -> tuple[bytes, int]:
        """The rest of the only text that begins so, and its place."""
        text, place = self._texts[self._first]
        return text[self._depth :], place

    def child(self, byte: int) -> Trie | None:
        """The node behind one more byte."""
        if self._last - self._first != 1:
            return self.children.get(byte)
        text, depth = self._texts[self._first][0], self._depth
        if len(text) == depth or text[depth] != byte:
            return None
        return Trie(self._texts, self._first, self._last, depth + 1)

    @property
    def next_bytes(self) -> Collection[int]:
        """The bytes with which texts go on, ascending."""
        if self._last - self._first != 1:
            return self.children.keys()
        return self._texts[self._first][0][self._depth : self._depth + 1]

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
