"""Runs of token ids and of slots, the two halves of an edge. A rising run of slots is kept as a `range`.

Most runs rise, because the allocator hands slots out that way, so half of the tree's memory is saved. What is left of a
run that is cut shares its memory until more than half is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int32]
Slots: TypeAlias = NDArray[np.int32] | range

EMPTY: Ids = np.empty(0, dtype=np.int32)
NO_SLOTS = range(0)
_FIRST_LOOK = 32
_LONG_LOOK = 8192
"""Long runs that differ mostly do so at once: a look at the first tokens then saves a comparison of all."""
_LONG = 256
"""A run of this length may have an edge of its own."""


def common_prefix_len(a: Ids, b: Ids) -> int:
    """Length of the longest common prefix; vector comparisons."""
    n = min(len(a), len(b))
    if n > _LONG_LOOK and (head := _common(a, b, _FIRST_LOOK)) < _FIRST_LOOK:
        return head
    return _common(a, b, n)


def _common(a: Ids, b: Ids, n: int) -> int:
    if not n:
        return 0
    differs = a[:n] != b[:n]
    at = int(differs.argmax())
    return at if differs[at] else n


def packed(slots: Ids) -> Slots:
    """The slots as they are kept: a range if they rise by one, else a copy."""
    if not len(slots):
        return NO_SLOTS
    first, last = int(slots[0]), int(slots[-1])
    if last - first == len(slots) - 1 and bool((slots[1:] - slots[:-1] == 1).all()):
        return range(first, last + 1)
    return slots.copy()


def unpacked(parts: Sequence[Slots]) -> Ids:
    """The slots of several parts, end to end."""
    if not parts:
        return EMPTY
    arrays = [np.arange(part.start, part.stop, dtype=np.int32) if isinstance(part, range) else part for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def joined(a: Slots, b: Slots) -> Slots:
    """Two parts as one, kept as a range where they meet."""
    if not len(a) or not len(b):
        return a if len(a) else b
    if isinstance(a, range) and isinstance(b, range) and a.stop == b.start:
        return range(a.start, b.stop)
    return unpacked((a, b))


def is_worth_joining(a: Slots, b: Slots) -> bool:
    """Whether one edge of both is better than two: not if a range would be spelled out for it, or much copied."""
    return len(b) < _LONG or (isinstance(a, range) and isinstance(b, range) and a.stop == b.start)


def first_of(slots: Slots, count: int) -> Slots:
    """The first `count`; a view, unless it would keep more memory alive than it is worth."""
    return slots[:count] if isinstance(slots, range) else trimmed(slots, count)


def trimmed(run: Ids, count: int) -> Ids:
    """The first `count` of a run; a view, unless it would keep more than twice its size alive."""
    whole = run if run.base is None else run.base
    part = run[:count]
    return part.copy() if 2 * count < np.size(whole) else part
