"""What can be spelled with the bytes that are tokens of their own, where these are not all that UTF-8 uses.

Only such bytes count when it is asked whether something can still be completed: what a string or a pattern says is kept
to the characters made of them. Beyond ASCII a character needs all the bytes that may follow a first one.
"""

from __future__ import annotations

from functools import cached_property

from espalier.grammar.escape import ESCAPED
from espalier.grammar.text import Language
from espalier.grammar.value import Json
from espalier.grammar.vocabulary import Vocabulary

ALPHABET_URI = "urn:espalier:alphabet"
_ASCII = range(0x80)
_LEADS = range(0xC2, 0xF5)
_TAIL = frozenset(range(0x80, 0xC0))
_ALL = frozenset((*_ASCII, *_LEADS, *_TAIL))


class Alphabet:
    """The texts that a vocabulary can spell byte by byte."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._there = vocabulary.single_bytes

    @cached_property
    def texts(self) -> Language:
        """The texts outside of JSON."""
        return Language.EVERY if self._there >= _ALL else Language.pattern(self._pattern(self._there))

    @cached_property
    def schema(self) -> Json:
        """A schema of the values whose strings and names can be spelled in JSON; None if these are all."""
        if self._there >= _ALL.difference(ESCAPED):
            return None
        strings: dict[str, Json] = {"pattern": self._pattern(self._there.union(ESCAPED))}
        inner: Json = {"$ref": ALPHABET_URI}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **strings,
            "propertyNames": strings,
            "additionalProperties": inner,
            "items": inner,
        }

    def _pattern(self, there: frozenset[int]) -> str:
        ranges = [(byte, byte) for byte in _ASCII if byte in there]
        if there >= _TAIL:
            ranges += [_led_by(lead) for lead in _LEADS if lead in there]
        inside = "".join(f"\\u{{{low:x}}}-\\u{{{high:x}}}" for low, high in ranges)
        return f"^[{inside}]*$"


def _led_by(lead: int) -> tuple[int, int]:
    """The code points whose UTF-8 begins with a byte, surrogates left out."""
    if lead < 0xE0:
        return (lead & 0x1F) << 6, (lead & 0x1F) << 6 | 0x3F
    if lead < 0xF0:
        low, high = (lead & 0xF) << 12, (lead & 0xF) << 12 | 0xFFF
        return max(low, 0x800), 0xD7FF if lead == 0xED else high
    low, high = (lead & 7) << 18, (lead & 7) << 18 | 0x3FFFF
    return max(low, 0x10000), min(high, 0x10FFFF)
