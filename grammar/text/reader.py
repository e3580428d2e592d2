"""A pattern's text and how far it has been read, with the escapes and classes of ECMA-262 (22.2.1) that mean code
points.

As with the flag `u`, and where that refuses what people write (`\\-`, `\\_`, a hyphen beside `\\w` in a class), as in
Annex B.
"""

from __future__ import annotations

from espalier.grammar.errors import PatternError
from espalier.grammar.text import code_points
from espalier.grammar.text.code_points import Ranges, complement, normal
from espalier.grammar.text.unicode_property import unicode_property

_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_CLASSES = {
    "d": code_points.DIGITS,
    "D": complement(code_points.DIGITS),
    "w": code_points.WORD,
    "W": complement(code_points.WORD),
    "s": code_points.SPACE,
    "S": complement(code_points.SPACE),
}
_HEX = frozenset("0123456789abcdefABCDEF")


class Reader:
    """See the module; `place` counts code points."""

    def __init__(self, source: str) -> None:
        self.source, self.place = source, 0

    def error(self, message: str, position: int | None = None) -> PatternError:
        """An error at a position, here if none is given."""
        return PatternError(message, self.source, self.place if position is None else position)

    def peek(self, text: str) -> bool:
        """Whether a text comes next."""
        return self.source.startswith(text, self.place)

    def next_char(self) -> str:
        """The next character, "" at the end; it is not taken."""
        return self.source[self.place : self.place + 1]

    def take(self) -> str:
        """The next character. PatternError at the end."""
        if self.place >= len(self.source):
            raise self.error("the pattern ends too early")
        self.place += 1
        return self.source[self.place - 1]

    def until(self, end: str) -> str | None:
        """What comes before `end`, which is taken too; None if it does not come."""
        found = self.source.find(end, self.place)
        if found < 0:
            return None
        text = self.source[self.place : found]
        self.place = found + len(end)
        return text

    def escape(self, position: int) -> Ranges:
        """What a backslash, already taken, begins outside a class."""
        char = self.take()
        if char in "123456789" or (char == "k" and self.peek("<")):
            raise self.error("a back-reference cannot be translated to an automaton", position)
        found = self._set(char, position)
        return normal([_single(self._code_point(char, position))]) if found is None else found

    def _set(self, char: str, position: int) -> Ranges | None:
        """The set that an escape's letter begins; None if it means one code point."""
        if char in _CLASSES:
            return _CLASSES[char]
        if char not in ("p", "P"):
            return None
        name = self.until("}") if self.peek("{") else None
        if name is None:
            raise self.error(f"a property is written \\{char}{{...}}", position)
        found = unicode_property(name[1:])
        if found is None:
            raise self.error(f"unknown Unicode property {name[1:80]!r}", position)
        return found if char == "p" else complement(found)

    def _code_point(self, char: str, position: int) -> int:
        """The code point of an escape whose first letter has been taken."""
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "0":
            if self.next_char() in _HEX and self.next_char().isdecimal():
                raise self.error("an octal escape is not allowed", position)
            return 0
        if char == "c":
            letter = self.take()
            if not (letter.isascii() and letter.isalpha()):
                raise self.error("\\c needs a letter", position)
            return ord(letter) % 32
        if char == "x":
            return self._hex(2, position)
        if char == "u":
            return self._unicode(position)
        if char.isascii() and char.isalnum():
            raise self.error(f"unknown escape \\{char}", position)
        return ord(char)

    def _unicode(self, position: int) -> int:
        if self.peek("{"):
            digits = (self.until("}") or "")[1:]
            if not digits or not set(digits) <= _HEX or int(digits, 16) > code_points.LAST:
                raise self.error("\\u{...} needs the hexadecimal digits of a code point", position)
            return int(digits, 16)
        first = self._hex(4, position)
        if 0xD800 <= first <= 0xDBFF and self.peek("\\u"):
            digits = self.source[self.place + 2 : self.place + 6]
            if len(digits) == 4 and set(digits) <= _HEX and 0xDC00 <= int(digits, 16) <= 0xDFFF:
                self.place += 6
                return 0x10000 + ((first - 0xD800) << 10) + int(digits, 16) - 0xDC00
        return first

    def _hex(self, length: int, position: int) -> int:
        digits = self.source[self.place : self.place + length]
        if len(digits) < length or not set(digits) <= _HEX:
            raise self.error(f"an escape needs {length} hexadecimal digits", position)
        self.place += length
        return int(digits, 16)

    def char_class(self, position: int) -> Ranges:
        """The class whose opening bracket has been taken."""
        negated = self.peek("^")
        self.place += negated
        found: list[tuple[int, int]] = []
        while not self.peek("]"):
            if self.place >= len(self.source):
                raise self.error("a class is not closed", position)
            self._members(found)
        self.place += 1
        ranges = normal(found)
        return complement(ranges) if negated else ranges

    def _members(self, found: list[tuple[int, int]]) -> None:
        """One member of a class, or a range."""
        low = self._member()
        if not self.peek("-") or self.peek("-]"):
            found.extend(_ranges(low))
            return
        before = self.place
        self.place += 1
        high = self._member()
        if isinstance(low, int) and isinstance(high, int):
            if low > high:
                raise self.error("a range ends before it begins", before)
            found.append((low, high))
        else:  # Annex B: with a class at one end the hyphen is itself
            found.extend((*_ranges(low), *_ranges(high), _single(ord("-"))))

    def _member(self) -> int | Ranges:
        position, char = self.place, self.take()
        if char != "\\":
            return ord(char)
        letter = self.take()
        if letter == "b":
            return 8
        if letter in "123456789":
            raise self.error("an octal escape is not allowed", position)
        found = self._set(letter, position)
        return self._code_point(letter, position) if found is None else found


def _single(point: int) -> tuple[int, int]:
    return point, point


def _ranges(member: int | Ranges) -> Ranges:
    return (_single(member),) if isinstance(member, int) else member
