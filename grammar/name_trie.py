"""Tries of texts: the names that an object knows or has used, the texts of a choice."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class Trie:
    """Texts by their bytes: `place` is that of the text which ends here, -1 if none does."""

    __slots__ = ("below", "children", "place")

    def __init__(self) -> None:
        self.children: dict[int, Trie] = {}
        self.place = -1
        self.below: list[int] = []  # places of texts from here on, ascending

    def add(self, text: bytes, place: int) -> None:
        """One more text, at a higher place than those before it."""
        node = self
        node.below.append(place)
        for byte in text:
            child = node.children.get(byte)
            if child is None:
                child = node.children[byte] = Trie()
            node = child
            node.below.append(place)
        node.place = place

    def between(self, first: int, last: int) -> Iterator[int]:
        """The places below from one to another, both ends included."""
        below = self.below
        for index in range(bisect_left(below, first), len(below)):
            if below[index] > last:
                return
            yield below[index]

    def completion(self, place: int) -> bytes:
        """The rest of the text at a place below."""
        found, node = bytearray(), self
        while node.place != place:
            byte, node = next(pair for pair in node.children.items() if pair[1].has(place))
            found.append(byte)
        return bytes(found)

    def has(self, place: int) -> bool:
        """Whether the text at a place begins so."""
        index = bisect_left(self.below, place)
        return index < len(self.below) and self.below[index] == place


def trie_of(names: Iterable[str]) -> Trie:
    """The trie of some names, in their order."""
    trie = Trie()
    for place, name in enumerate(names):
        trie.add(name.encode(), place)
    return trie
