"""Tokens of text that must come, as the tokenizer itself would have written them behind what is there already.

A pre-token is what a tokenizer cuts a text into first; tokens never cross its borders. So the tokens of forced text are
certain up to the last border that no continuation can move: those are given, the rest is left to the mask. Text is read
plain (markers that it spells stay text). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from espalier.engine.tokenizer import Pieces, Tokenizer

MOST_CONTEXT = 16
"""Tokens before the forced text that are looked at: more than the longest pre-token of structured text has."""
MOST_KEPT = 8_192
"""Results that are remembered; each has at most `grammar.spot.MOST_AHEAD` bytes of text."""
MOST_PROBES = 96
# One of each kind that pre-tokenizers tell apart: what may follow where nearly everything may.
ANYTHING = ("", *"aZé中7 \n\t\"',.{_-\u0301\u200d😀", "  ", " a", "\r\n", "re", "ll", "12", "'t", "'s", "'ll", "'re")
# They look at more than one character at these: 're and 'll, and white space before more of it.
LOOK_FURTHER = frozenset("'’ \t\r\n")


@dataclass(frozen=True, slots=True)
class Forced:
    """Bytes that must come; how what may follow begins (None: in too many ways); whether nothing may."""

    text: bytes
    then: tuple[bytes, ...] | None
    may_end: bool


class Canonical:
    """Tokenizes forced text. Remembers what it did: the same text is forced again and again."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._behind = lru_cache(MOST_KEPT)(self._find_behind)
        self._guess = lru_cache(MOST_KEPT)(self._find_guess)

    def tokens(self, before: Sequence[int], forced: Forced) -> list[int]:
        """The tokens that are certain, behind the tokens `before`; none where those themselves were not canonical."""
        return self.find(before, forced)[0]

    def find(self, before: Sequence[int], forced: Forced) -> tuple[list[int], int]:
        """The same, and how many of the tokens before they are for: behind others that end so, they are the same."""
        for size in (1, 2, 4, MOST_CONTEXT):
            context, is_all = tuple(before[-size:]), size >= len(before)
            found = self._behind(context, forced, is_all)
            if found is not None:
                return found, MOST_CONTEXT if is_all else size
        return [], MOST_CONTEXT

    def probable(self, last: int, text: bytes, most: int) -> list[int]:
        """The first tokens, `most` at most, that the tokenizer would write behind a token for text that must come, if
        nothing came after it: a good guess.
        """
        return self._guess(last, text, most)

    def _find_guess(self, last: int, text: bytes, most: int) -> list[int]:
        text = _whole(text)
        if not _is_text(text):
            return []
        there = self._text(self._plain((last,)))
        for before in (there, b"") if _is_text(there) else (b"",):
            pieces = self._tokenizer.pieces((before + text).decode())
            at = None if pieces is None else _behind_bytes(pieces, len(before))
            if pieces is not None and at is not None:
                return pieces.ids[at : at + most]
        return []

    def _find_behind(self, context: tuple[int, ...], forced: Forced, is_all: bool) -> list[int] | None:
        """As `tokens`; None if more context is needed."""
        plain = self._plain(context)
        is_all = is_all or len(plain) < len(context)
        there, text = self._text(plain), _whole(forced.text)
        if not _is_text(text):
            return []
        if not _is_text(there):  # it begins or ends within a character
            return [] if is_all else None
        text = there + text
        pieces = self._tokenizer.pieces(text.decode())
        if pieces is None:
            return []
        at = _behind_bytes(pieces, len(there))
        # A token lies across: either what was drawn is not canonical, or the context begins within a pre-token.
        if at is None or not self._follows(pieces, at, plain):
            return [] if is_all else None
        return pieces.ids[at : self._certain(text, pieces, at, forced)]

    def _text(self, tokens: Sequence[int]) -> bytes:
        return b"".join(self._tokenizer.token_bytes[token] or b"" for token in tokens)

    def _plain(self, context: tuple[int, ...]) -> tuple[int, ...]:
        """What stands behind the last special token: no pre-token crosses one."""
        known = self._tokenizer.token_bytes
        begin = len(context)
        while begin and context[begin - 1] < len(known) and known[context[begin - 1]]:
            begin -= 1
        return context[begin:]

    def _follows(self, pieces: Pieces, at: int, plain: tuple[int, ...]) -> bool:
        """Whether the pre-token that goes on at `at` was drawn so far as the tokenizer would have written it."""
        if at == 0 or at == len(pieces.ids) or pieces.words[at] != pieces.words[at - 1]:
            return True
        begin = pieces.words.index(pieces.words[at])
        return tuple(pieces.ids[begin:at]) == plain[len(plain) - (at - begin) :] and at - begin < len(plain)

    def _certain(self, text: bytes, pieces: Pieces, begin: int, forced: Forced) -> int:
        """Up to where the tokens stay, whatever follows."""
        end = len(pieces.ids)
        probes = self._probes(text, forced)
        if probes is None:
            # What follows can't be tried one by one: the last pre-token may always grow.
            end, probes = _without_last(pieces, begin, end), ANYTHING
        for probe in probes:
            if end <= begin:
                break
            end = self._shared(pieces, self._tokenizer.pieces(text.decode() + probe), begin, end)
        return max(end, begin)

    def _shared(self, pieces: Pieces, other: Pieces | None, begin: int, end: int) -> int:
        """How many of the first `end` tokens stay in a longer text, where their last pre-token ends for certain."""
        if other is None:  # a normalizer joined what follows to the end of the text
            return _without_last(pieces, begin, end)
        while end > begin:
            is_same = other.ids[:end] == pieces.ids[:end]
            if is_same and (end == len(other.ids) or other.words[end - 1] != other.words[-1]):
                break
            end -= 1
        return end

    def _probes(self, text: bytes, forced: Forced) -> tuple[str, ...] | None:
        """All ways in which what follows may begin, if they are few and decide by themselves."""
        then = forced.then
        if then is None or len(then) > MOST_PROBES or len(_whole(forced.text)) < len(forced.text):
            return None
        if not b"".join(then).isascii():
            return None
        last, words = text.decode()[-1:], [one for one in then if one[:1].isalnum()]
        # Words that go on may be cut at any letter to come; some patterns split at capitals.
        if (last.isalnum() and words) or LOOK_FURTHER & {last, *b"".join(then).decode()}:
            return None
        ends = ("",) if forced.may_end or not then else ()
        return (*ends, *(one.decode() for one in then))


def _behind_bytes(pieces: Pieces, size: int) -> int | None:
    """The token that begins behind so many bytes; None where one lies across."""
    if not size:
        return 0
    return pieces.ends.index(size) + 1 if size in pieces.ends else None


def _without_last(pieces: Pieces, begin: int, end: int) -> int:
    """Up to the last pre-token."""
    while end > begin and pieces.words[end - 1] == pieces.words[-1]:
        end -= 1
    return end


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(text: bytes) -> bytes:
    """Without the beginning of a character at its end."""
    for back in range(1, min(4, len(text)) + 1):
        lead = text[-back]
        if lead & 0xC0 == 0x80:
            continue
        size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        return text if back >= size else text[:-back]
    return text
