"""UTF-8 over an alphabet: which classes of code points the bytes read so far can still become (RFC 3629, 4).

Inside a code point there is a *shape* (how many bytes are to come, and which the next may be) and the interval of
code points that are possible. A node is such an interval in which classes differ; where they don't, shape and class
are enough.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from espalier.grammar.text.alphabet import Alphabet

# Shape -> the least and the greatest next byte, and the shape after it; 0 is the end of the code point.
SHAPES = {
    1: (0x80, 0xBF, 0),
    2: (0x80, 0xBF, 1),
    3: (0x80, 0xBF, 2),
    4: (0xA0, 0xBF, 1),  # after E0: no overlong forms
    5: (0x80, 0x9F, 1),  # after ED: no surrogates
    6: (0x90, 0xBF, 2),  # after F0
    7: (0x80, 0x8F, 2),  # after F4: up to U+10FFFF
}
_NUM_LEFT = {1: 1, 2: 2, 3: 3, 4: 2, 5: 2, 6: 3, 7: 3}
_LEADS = (
    *((byte, 1, byte & 0x1F) for byte in range(0xC2, 0xE0)),
    *((byte, {0xE0: 4, 0xED: 5}.get(byte, 2), byte & 0x0F) for byte in range(0xE0, 0xF0)),
    *((byte, {0xF0: 6, 0xF4: 7}.get(byte, 3), byte & 0x07) for byte in range(0xF0, 0xF5)),
)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Whatever follows, the code point is of one class: the `place`-th of the parent's, or of the alphabet."""

    shape: int
    place: int


class Node:
    """Code points of several classes are possible; `places` are those classes in the parent's order, or the
    alphabet's.
    """

    def __init__(self, alphabet: Alphabet, shape: int, prefix: int, classes: list[int], places: np.ndarray) -> None:
        self._alphabet, self.shape, self._prefix, self._classes, self.places = alphabet, shape, prefix, classes, places

    @cached_property
    def branches(self) -> list[tuple[Branch, list[int]]]:
        """What the next byte leads to, and which bytes lead there."""
        low, high, after = SHAPES[self.shape]
        order = {kind: place for place, kind in enumerate(self._classes)}
        codes = ((byte, self._prefix << 6 | byte & 0x3F) for byte in range(low, high + 1))
        return _grouped((byte, _branch(self._alphabet, after, code, order)) for byte, code in codes)


Branch: TypeAlias = Uniform | Node


class Leads:
    """What the first bytes of code points from U+0080 on lead to.

    Most of them lead to code points of one class, the `usual` one: `shapes` are those bytes, as positions in 0x80 to
    0xFF. `branches` is the rest, with which bytes lead to each.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        order = {kind: kind for kind in range(alphabet.num_classes)}
        found = _grouped((byte, _branch(alphabet, shape, code, order)) for byte, shape, code in _LEADS)
        shared = [branch.place for branch, _ in found if isinstance(branch, Uniform)]
        self.usual = max(set(shared), key=shared.count) if shared else -1
        self.shapes: list[tuple[int, np.ndarray]] = []
        self.branches: list[tuple[Branch, list[int]]] = []
        for branch, bytes_ in found:
            if isinstance(branch, Uniform) and branch.place == self.usual:
                self.shapes.append((branch.shape, np.array(bytes_) - 0x80))
            else:
                self.branches.append((branch, bytes_))


def leads(alphabet: Alphabet) -> tuple[Leads, np.ndarray]:
    """The first bytes of an alphabet's longer code points, shared where only classes' numbers differ, and the
    numbers of its classes.
    """
    first = bisect_right(alphabet.starts, 0x80) - 1
    numbers: dict[int, int] = {}
    kinds = tuple(kind if kind < 0 else numbers.setdefault(kind, len(numbers)) for kind in alphabet.kinds[first:])
    return _leads((0, *alphabet.starts[first + 1 :]), kinds), np.array(list(numbers), dtype=np.intp)


@lru_cache(maxsize=256)
def _leads(starts: tuple[int, ...], kinds: tuple[int, ...]) -> Leads:
    return Leads(Alphabet(list(starts), list(kinds)))


def _branch(alphabet: Alphabet, shape: int, prefix: int, order: dict[int, int]) -> Branch:
    """The code points that begin with a prefix; `order` says where the parent has their classes."""
    classes = list(dict.fromkeys(alphabet.between(*_interval(shape, prefix))))
    if len(classes) == 1:
        return Uniform(shape, order[classes[0]])
    return Node(alphabet, shape, prefix, classes, np.array([order[kind] for kind in classes], dtype=np.intp))


def _interval(shape: int, prefix: int) -> tuple[int, int]:
    """The first and the last code point that begin with a prefix."""
    if not shape:
        return prefix, prefix
    low, high, _ = SHAPES[shape]
    bits = 6 * (_NUM_LEFT[shape] - 1)
    return (prefix << 6 | low & 0x3F) << bits, ((prefix << 6 | high & 0x3F) + 1 << bits) - 1


def _grouped(branches: Iterable[tuple[int, Branch]]) -> list[tuple[Branch, list[int]]]:
    found: dict[Branch, list[int]] = {}
    for byte, branch in branches:
        found.setdefault(branch, []).append(byte)
    return list(found.items())
