"""Partitions of the code points into classes that a set of languages does not tell apart.

Automata work on classes; the bytes come in only at the end. The class of the last code point is `rest`: usually
everything that is not named, so that rows are kept as what differs from it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

from espalier.grammar.text.code_points import LAST, SURROGATES, Ranges

_NICE = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_. "
_RANK = {ord(char): rank for rank, char in enumerate(_NICE)}
_AFTER = SURROGATES[1] + 1


class Alphabet:
    """A partition: `starts[i]` is where the i-th interval of class `kinds[i]` begins; surrogates are of class -1."""

    def __init__(self, starts: list[int], kinds: list[int]) -> None:
        self.starts, self.kinds = starts, kinds
        self.num_classes = max(kinds) + 1
        self.rest = kinds[-1]
        self.sizes = [0] * self.num_classes
        self._intervals: list[list[tuple[int, int]]] = [[] for _ in range(self.num_classes)]
        for kind, (low, after) in zip(kinds, pairwise((*starts, LAST + 1)), strict=True):
            if kind >= 0:
                self.sizes[kind] += after - low
                self._intervals[kind].append((low, after - 1))

    def class_of(self, point: int) -> int:
        """The class of a code point."""
        return self.kinds[bisect_right(self.starts, point) - 1]

    def between(self, first: int, last: int) -> list[int]:
        """The classes of an interval, one for each of the partition's intervals that meets it."""
        return self.kinds[bisect_right(self.starts, first) - 1 : bisect_left(self.starts, last + 1)]

    @property
    def ascii(self) -> list[int]:
        """The class of each code point below 0x80."""
        found: list[int] = []
        for kind, after in zip(self.kinds, self.starts[1:], strict=False):
            found.extend([kind] * (min(after, 0x80) - len(found)))
        return found

    @cached_property
    def samples(self) -> list[str]:
        """A character of each class: a letter or a digit if there is one, else printable ASCII, else any."""
        return [chr(_sample(intervals)) for intervals in self._intervals]

    @cached_property
    def by_niceness(self) -> list[int]:
        """The classes, those with the nicest samples first."""
        return sorted(range(self.num_classes), key=lambda kind: _niceness(ord(self.samples[kind])))


def _niceness(point: int) -> tuple[int, int]:
    if point in _RANK:
        return 0, _RANK[point]
    return (1 if 0x20 < point < 0x7F else 2 if point > 0xA0 else 3), point


def _sample(intervals: list[tuple[int, int]]) -> int:
    nice = (point for point in _RANK if any(low <= point <= high for low, high in intervals))
    found = next(nice, None)
    if found is not None:
        return found
    candidates = [max(low, edge) for low, high in intervals for edge in (0x21, 0xA1, 0) if edge <= high]
    return min(candidates, key=_niceness)


def partition(sets: Sequence[Ranges]) -> tuple[Alphabet, list[tuple[int, ...]]]:
    """The coarsest alphabet that tells the sets apart, and the classes that each set consists of."""
    flips: dict[int, int] = {0: 0, SURROGATES[0]: 0, _AFTER: 0}
    for index, ranges in enumerate(sets):
        for low, high in ranges:
            flips[low] = flips.get(low, 0) ^ 1 << index
            flips[high + 1] = flips.get(high + 1, 0) ^ 1 << index
    flips.pop(LAST + 1, None)
    members, signatures = 0, []
    starts = sorted(flips)
    for start in starts:
        members ^= flips[start]
        signatures.append(-1 if start == SURROGATES[0] else members)
    alphabet, known = _numbered(starts, signatures)
    inside = [
        tuple(kind for kind, signature in enumerate(known) if signature >> index & 1) for index in range(len(sets))
    ]
    return alphabet, inside


def _numbered(starts: list[int], signatures: list[int]) -> tuple[Alphabet, list[int]]:
    known: dict[int, int] = {}
    kinds: list[int] = []
    joined: list[int] = []
    for start, signature in zip(starts, signatures, strict=True):
        kind = -1 if signature == -1 else known.setdefault(signature, len(known))
        if not kinds or kind != kinds[-1]:
            joined.append(start)
            kinds.append(kind)
    return Alphabet(joined, kinds), list(known)


class Joint:
    """A common refinement: for each of its classes, the class in each of the parts, and the other way round."""

    def __init__(self, parts: tuple[Alphabet, ...]) -> None:
        if len(parts) == 1:
            self.alphabet = parts[0]
            kinds: list[tuple[int, ...]] = [(kind,) for kind in range(parts[0].num_classes)]
        else:
            self.alphabet, kinds = _refined(parts)
        self.parts_of = kinds  # [class][part]
        self.classes_of: list[list[list[int]]] = [
            [[] for _ in range(part.num_classes)] for part in parts
        ]  # [part][class of it]
        for kind, inside in enumerate(kinds):
            for index, own in enumerate(inside):
                self.classes_of[index][own].append(kind)


def _refined(parts: tuple[Alphabet, ...]) -> tuple[Alphabet, list[tuple[int, ...]]]:
    starts = sorted({0, SURROGATES[0], _AFTER}.union(*(part.starts for part in parts)))
    known: dict[tuple[int, ...], int] = {}
    signatures = []
    for start in starts:
        inside = tuple(part.class_of(start) for part in parts)
        signatures.append(-1 if start == SURROGATES[0] else known.setdefault(inside, len(known)))
    alphabet, order = _numbered(starts, signatures)
    assert order == sorted(order)
    return alphabet, list(known)


@lru_cache(maxsize=512)
def joint(parts: tuple[Alphabet, ...]) -> Joint:
    """The refinement of some alphabets."""
    return Joint(parts)
