"""What a `\\u` escape of JSON that has begun can mean, surrogate pairs included (RFC 8259, 7).

Knows nothing of strings: what may come next is asked byte by byte, in UTF-8.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]  # of code points, both ends included

ESCAPED = bytes(range(0x20)) + b'"\\'  # what JSON spells by escapes only
HEX = b"0123456789ABCDEFabcdef"
_PLANES = 0x10000  # the first code point that takes a pair


class Reader(Protocol):
    """Reads UTF-8."""

    def follow(self, byte: int) -> Reader | None:
        """After one more byte; None if nothing completes that."""
        ...


@lru_cache(maxsize=8192)
def meanings(pending: bytes) -> tuple[Ranges, bool]:
    """The code points that an escape begun so can mean, and whether it is whole. None of them if it is no escape."""
    if pending[1:2] != b"u" or any(byte not in HEX for byte in pending[2:6]):
        return (), False
    first, last = _four(pending[2:6])
    if len(pending) < 6 or not 0xD800 <= first <= 0xDBFF:
        high_first, high_last = max(first, 0xD800), min(last, 0xDBFF)
        ranges = (
            (first, min(last, 0xD7FF)),
            (max(first, 0xE000), last),
            (_pair(high_first, 0xDC00), _pair(high_last, 0xDFFF)),
        )
        return tuple((low, high) for low, high in ranges if low <= high), len(pending) == 6
    rest = pending[6:]
    if not b"\\u".startswith(rest[:2]) or any(byte not in HEX for byte in rest[2:]):
        return (), False
    low_first, low_last = _four(rest[2:])
    low_first, low_last = max(low_first, 0xDC00), min(low_last, 0xDFFF)
    if low_first > low_last:
        return (), False
    return ((_pair(first, low_first), _pair(first, low_last)),), len(rest) == 6


def _four(digits: bytes) -> tuple[int, int]:
    """The least and the most that four digits begun so can be."""
    return int(digits.decode().ljust(4, "0"), 16), int(digits.decode().ljust(4, "f"), 16)


def _pair(high: int, low: int) -> int:
    """The code point of a pair of surrogates."""
    return _PLANES + ((high - 0xD800) << 10) + low - 0xDC00


def reaches(reader: Reader, ranges: Ranges) -> bool:
    """Whether any code point of some ranges may come next."""
    return any(_reaches(reader, low, high) for low, high in ranges)


def _reaches(reader: Reader, first: int, last: int) -> bool:
    for lead in (*range(0x80), *range(0xC2, 0xF5)):
        num_left = 0 if lead < 0x80 else 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        if _reaches_by(reader, lead, num_left, lead & (0x3F >> num_left if num_left else 0x7F), first, last):
            return True
    return False


def _reaches_by(reader: Reader, byte: int, num_left: int, code: int, first: int, last: int) -> bool:
    """Whether a code point in first ... last may come that begins with a byte, `code` being the bits up to it."""
    low, high = code << 6 * num_left, (code + 1 << 6 * num_left) - 1
    if high < first or low > last:
        return False
    after = reader.follow(byte)
    if after is None:
        return False
    if first <= low and high <= last:
        return True  # whatever is live has an end, and all ends lie in between
    return any(_reaches_by(after, 0x80 | bits, num_left - 1, code << 6 | bits, first, last) for bits in range(0x40))
