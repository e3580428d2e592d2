"""Sets of code points as sorted ranges.

Surrogates are never in a set: strings are sequences of Unicode scalar values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]  # first, last; ascending and apart
LAST = sys.maxunicode
SURROGATES = (0xD800, 0xDFFF)


def normal(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in ascending order, joined where they touch, without surrogates."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(part for low, high in found for part in _scalar(low, high))


def _scalar(low: int, high: int) -> Iterable[tuple[int, int]]:
    first, last = SURROGATES
    if high < first or low > last:
        yield low, high
        return
    if low < first:
        yield low, first - 1
    if high > last:
        yield last + 1, high


def complement(ranges: Ranges) -> Ranges:
    """All other code points."""
    found, begin = [], 0
    for low, high in ranges:
        if begin < low:
            found.append((begin, low - 1))
        begin = high + 1
    if begin <= LAST:
        found.append((begin, LAST))
    return normal(found)


def points(text: str) -> Ranges:
    """The code points of a text."""
    return normal((ord(char), ord(char)) for char in text)


ALL = normal([(0, LAST)])
DIGITS = points("0123456789")
WORD = normal([*DIGITS, (65, 90), (97, 122), (95, 95)])
SPACE = normal(
    [*points("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"), (0x2000, 0x200A)]
)  # ECMA-262, 12.2 and 12.3
LINE_ENDS = points("\n\r\u2028\u2029")
DOT = complement(LINE_ENDS)
