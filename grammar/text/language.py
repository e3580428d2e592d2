"""Sets of Unicode strings: patterns, finite sets and lengths, and their Boolean combinations, as values that
compare and hash.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache, reduce
from typing import ClassVar

from espalier.grammar.text.expression import Expression, divide
from espalier.grammar.text.pattern import parse


class Language:
    """A set of strings. Simplified a little: equal sets need not be equal objects, but EVERY and NOTHING are one
    object each.
    """

    __slots__ = ("_hash", "key", "operator", "parts")

    EVERY: ClassVar[Language]
    NOTHING: ClassVar[Language]

    def __init__(self, operator: str, key: Hashable = None, parts: tuple[Language, ...] = ()) -> None:
        self.operator, self.key, self.parts = operator, key, parts
        self._hash = hash((operator, key, parts))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Language)
            and self._hash == other._hash
            and (self.operator, self.key, self.parts) == (other.operator, other.key, other.parts)
        )

    def __repr__(self) -> str:
        if self.parts:
            return f"{self.operator}({', '.join(map(repr, self.parts))})"
        return f"{self.operator}({self.key!r})" if self.key is not None else self.operator

    @staticmethod
    def pattern(source: str) -> Language:
        """The strings in which an ECMA-262 pattern matches somewhere. PatternError if it is malformed or cannot be
        translated.
        """
        return _pattern(source)

    @staticmethod
    def literals(texts: Iterable[str]) -> Language:
        """A finite set; texts with lone surrogates are no strings and are left out."""
        known = frozenset(text for text in texts if not any("\ud800" <= char <= "\udfff" for char in text))
        return Language("literals", known) if known else Language.NOTHING

    @staticmethod
    def length(minimum: int, maximum: int | None) -> Language:
        """The strings of so many code points, both ends included."""
        if maximum is not None and minimum > maximum:
            return Language.NOTHING
        if minimum <= 0 and maximum is None:
            return Language.EVERY
        return Language("length", (max(minimum, 0), maximum))

    def __and__(self, other: Language) -> Language:
        if self is Language.EVERY or self == other:
            return other
        if other is Language.EVERY:
            return self
        if self is Language.NOTHING or other is Language.NOTHING or self == ~other:
            return Language.NOTHING
        merged = _merged(self, other) or _merged(other, self)
        if merged is not None:
            return merged
        parts = dict.fromkeys((*_conjuncts(self), *_conjuncts(other)))
        return Language("and", None, tuple(parts))

    def __or__(self, other: Language) -> Language:
        if self.operator == other.operator == "literals":
            return Language.literals((*self.texts, *other.texts))
        return ~(~self & ~other)

    def __invert__(self) -> Language:
        if self.operator == "not":
            return self.parts[0]
        if self is Language.EVERY or self is Language.NOTHING:
            return Language.NOTHING if self is Language.EVERY else Language.EVERY
        return Language("not", None, (self,))

    @property
    def texts(self) -> frozenset[str]:
        """Of a finite set."""
        assert isinstance(self.key, frozenset)
        return self.key

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Of lengths."""
        assert isinstance(self.key, tuple)
        return self.key

    @property
    def expression(self) -> Expression:
        """Of a pattern."""
        assert isinstance(self.key, Expression)
        return self.key

    def atoms(self) -> list[Language]:
        """The patterns, finite sets and lengths that it combines, each once."""
        found: dict[Language, None] = {}
        pending = [self]
        while pending:
            top = pending.pop()
            if top.parts:
                pending.extend(reversed(top.parts))
            else:
                found[top] = None
        return list(found)


Language.EVERY = Language("every")
Language.NOTHING = Language("nothing")


def _conjuncts(language: Language) -> tuple[Language, ...]:
    return language.parts if language.operator == "and" else (language,)


def _merged(left: Language, right: Language) -> Language | None:
    """The conjunction where one language says it: finite sets filter, lengths meet, complements of finite sets join."""
    if right.operator == "and":
        return _merged_into(left, right)
    if left.operator == "literals":
        if right.operator == "literals":
            return Language.literals(left.texts & right.texts)
        if right.operator == "not" and right.parts[0].operator == "literals":
            return Language.literals(left.texts - right.parts[0].texts)
        if right.operator == "length":
            low, high = right.bounds
            return Language.literals(t for t in left.texts if low <= len(t) and (high is None or len(t) <= high))
    if left.operator == right.operator == "length":
        highs = [high for _, high in (left.bounds, right.bounds) if high is not None]
        return Language.length(max(left.bounds[0], right.bounds[0]), min(highs) if highs else None)
    if left.operator == right.operator == "not" and left.parts[0].operator == right.parts[0].operator == "literals":
        return ~Language.literals(left.parts[0].texts | right.parts[0].texts)
    return None


def _merged_into(left: Language, right: Language) -> Language | None:
    """A conjunction with one more language, which becomes one with a part of it."""
    for part in right.parts if left.operator != "and" else ():
        merged = _merged(left, part) or _merged(part, left)
        if merged is not None:
            return reduce(Language.__and__, (other for other in right.parts if other is not part), merged)
    return None


@lru_cache(maxsize=4096)
def _pattern(source: str) -> Language:
    parts = divide(parse(source))
    found = Language.length(parts.min_len, parts.max_len)
    for expression in parts.expressions:
        found = found & Language("pattern", expression)
    for expression in parts.excluded:
        found = found & ~Language("pattern", expression)
    return found
