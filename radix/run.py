"""Runs of token ids, and parts of runs of slots: an array, or a `range` if it rises by one.

What is left of a run that is cut shares its memory until more than half is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int32]
Part: TypeAlias = NDArray[np.int32] | range

EMPTY: Ids = np.empty(0, dtype=np.int32)
_FIRST_LOOK = 32
_LONG_LOOK = 8192
"""Long runs that differ mostly do so at once: a look at the first tokens then saves a comparison of all."""


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


def packed(slots: Ids) -> Part:
    """The slots as they are kept: a range if they rise by one, else a copy."""
    if not len(slots):
        return range(0)
    first, last = int(slots[0]), int(slots[-1])
    if last - first == len(slots) - 1 and bool((slots[1:] - slots[:-1] == 1).all()):
        return range(first, last + 1)
    return slots.copy()


def spelled(part: Part) -> Ids:
    """A part's slots as an array."""
    return np.arange(part.start, part.stop, dtype=np.int32) if isinstance(part, range) else part


def unpacked(parts: Sequence[Part]) -> Ids:
    """The slots of several parts, end to end."""
    if not parts:
        return EMPTY
    return spelled(parts[0]) if len(parts) == 1 else np.concatenate([spelled(part) for part in parts])


def first_of(part: Part, count: int) -> Part:
    """The first `count`; a view, unless it would keep more memory alive than it is worth."""
    return part[:count] if isinstance(part, range) else trimmed(part, count)


def trimmed(run: Ids, count: int) -> Ids:
    """The first `count` of a run; a view, unless it would keep more than twice its size alive."""
    part = run[:count]
    whole: Ids | None = part.base
    return part.copy() if whole is not None and 2 * count < whole.size else part
