"""No dead ends and no early refusals: what is live, against every text of a small alphabet, by independent judges."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]

from espalier.grammar import (
    AnyConstraint,
    Choice,
    Cursor,
    Json,
    Literal,
    OneOf,
    Regex,
    RejectedError,
    Repeat,
    Sequence,
    Text,
    UnsatisfiableError,
    compile_grammar,
)
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.random_schema import SchemaMaker
from tests.grammar.small import BYTES
from tests.grammar.walk import shortest

Judge = Callable[[bytes], bool]
LONGEST = 7  # bytes of a text that is tried


def accepted(cursor: Cursor, byte: int) -> Cursor | None:
    """The cursor behind one more byte."""
    after = cursor.copy()
    try:
        after.accept_bytes(bytes([byte]))
    except RejectedError:
        return None
    return after


def assert_exact(
    constraint: AnyConstraint, texts: set[bytes], alphabet: bytes, is_right: Judge, is_short: bool
) -> None:
    """`texts` are all right ones of the alphabet up to a length: whatever they begin with is live and says so, and
    anything else that is live has an end that is right. With `is_short` no completion is longer than the best of them.
    """
    fewest = dict[bytes, int]()
    for text in texts:
        for length in range(len(text) + 1):
            fewest[text[:length]] = min(fewest.get(text[:length], len(text)), len(text) - length)
    pending = [(b"", compile_grammar(constraint, BYTES).start())]
    seen = 0
    while pending:
        read, cursor = pending.pop()
        seen += 1
        assert cursor.is_complete() == (read in texts), f"{read!r} is {'not ' * (read in texts)}complete"
        tail = cursor.shortest_completion()
        end = cursor.copy()
        end.accept_bytes(tail)
        assert end.is_complete() and is_right(read + tail), f"the completion {tail!r} of {read!r}"
        if is_short:
            assert len(tail) <= fewest[read], f"{tail!r} completes {read!r}, which needs {fewest[read]} bytes"
        for byte in alphabet:
            after, longer = accepted(cursor, byte), read + bytes([byte])
            if longer in fewest:
                assert after is not None, f"{longer!r} is refused"
                pending.append((longer, after))
            elif after is not None:
                tail = after.shortest_completion()
                after.accept_bytes(tail)
                assert after.is_complete() and is_right(longer + tail), f"{longer!r} is live, but not by {tail!r}"
    assert seen == len(fewest)


PATTERNS = (
    *("a*b", "(ab|a)*", "(a|b){2,3}", "a(?:bb)+|ba", "[^a]b?", "(?=a)[ab]{2}", "(a+)+b", "a{0,2}b{1,2}", "|ab|ba*"),
    *("(?!b)[ab]*", "b?(ab)*a?", "^a|b$", "\\ba\\b|b", "(?:a*){2}b", "aa|ab|abba"),
)


def words(alphabet: bytes, longest: int) -> Iterator[bytes]:
    for length in range(longest + 1):
        for letters in itertools.product(alphabet, repeat=length):
            yield bytes(letters)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_live_as_long_as_a_text_matches(pattern: str) -> None:
    known = re.compile(pattern, re.ASCII)

    def is_right(text: bytes) -> bool:
        return known.fullmatch(text.decode("latin-1")) is not None

    texts = {text for text in words(b"ab", LONGEST) if is_right(text)}
    assert_exact(Regex(pattern), texts, b"ab", is_right, is_short=True)


COMPOSED: dict[str, tuple[AnyConstraint, str]] = {
    "choice": (Choice((b"", b"a", b"ab", b"abba", b"bb")), "|a|ab|abba|bb"),
    "sequence": (Sequence((Regex("a*"), Choice((b"", b"ab")), Literal(b"b"))), "a*(|ab)b"),
    "repeat": (Repeat(Choice((b"ab", b"b")), 1, 3), "(ab|b){1,3}"),
    "repeat without end": (Repeat(OneOf((Literal(b"aa"), Literal(b"b"))), 2), "(aa|b){2,}"),
    "repeat of repeats": (Repeat(Sequence((Literal(b"a"), Repeat(Literal(b"b")))), 1, 2), "(ab*){1,2}"),
    "repeat of what may be empty": (Repeat(Regex("(ab)?"), 2, 3), "(ab){0,3}"),
    "options": (OneOf((Regex("a+b"), Literal(b"aab"), Sequence(()), Regex("b{2}"))), "a+b||bb"),
    "until": (Sequence((Text(until=b"aab"), Literal(b"a"))), "(?:(?!aab)[ab])*aaba"),
    "text": (Sequence((Literal(b"b"), Text(), Literal(b"ab"))), "b[ab]*ab"),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_constraints_live_as_long_as_a_text_is_left(name: str) -> None:
    constraint, pattern = COMPOSED[name]

    def is_right(text: bytes) -> bool:
        return re.fullmatch(pattern, text.decode("latin-1")) is not None

    texts = {text for text in words(b"ab", LONGEST) if is_right(text)}
    assert_exact(constraint, texts, b"ab", is_right, is_short=name != "repeat without end")  # takes the first option


@cache
def json_texts(length: int) -> tuple[str, ...]:
    """All compact JSON texts of so many bytes over few scalars and names."""
    scalars = [
        text for text in ("1", "2", "9", "12", '""', '"a"', '"b"', '"ab"', "null", "true") if len(text) == length
    ]
    arrays = [f"[{inside}]" for inside in _lists(length - 2, json_texts)]
    return (*scalars, *arrays, *(f"{{{inside}}}" for inside in _lists(length - 2, _members)))


@cache
def _members(length: int) -> tuple[str, ...]:
    names = ("a", "b", "ab")
    return tuple(f'"{name}":{value}' for name in names for value in json_texts(length - 3 - len(name)))


def _lists(length: int, items: Callable[[int], tuple[str, ...]]) -> Iterator[str]:
    if length == 0:
        yield ""
    for first in range(1, length + 1):
        rests = [""] if first == length else [f",{rest}" for rest in _lists(length - first - 1, items) if rest]
        yield from (item + rest for item in items(first) for rest in rests)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


@cache
def json_values(longest: int) -> tuple[tuple[bytes, Any], ...]:
    """All texts up to a length, with their values."""
    found = []
    for text in itertools.chain.from_iterable(json_texts(length) for length in range(1, longest + 1)):
        try:
            found.append((text.encode(), json.loads(text, object_pairs_hook=_unique)))
        except ValueError:
            continue
    return tuple(found)


def assert_json_is_exact(schema: Any, longest: int) -> None:
    validator = validator_for(schema, default=Draft202012Validator)(schema)
    texts = {text for text, value in json_values(longest) if validator.is_valid(value)}

    def is_right(text: bytes) -> bool:
        return bool(validator.is_valid(json.loads(text, object_pairs_hook=_unique, parse_float=shortest)))

    constraint = Json(schema, property_order="any")
    alphabet = bytes(sorted({byte for text, _ in json_values(longest) for byte in text}))
    try:
        grammar = compile_grammar(constraint, BYTES)
    except UnsatisfiableError:
        assert not texts
        return
    if not texts:
        assert is_right(grammar.start().shortest_completion())
        return
    live = {text[:length] for text in texts for length in range(len(text) + 1)}
    cursors = {b"": grammar.start()}
    for read in sorted(live, key=len):
        cursor = cursors[read]
        assert read not in texts or cursor.is_complete(), f"{read!r} is not complete"
        for byte in alphabet:
            after, longer = accepted(cursor, byte), read + bytes([byte])
            if longer in live:
                assert after is not None, f"{longer!r} is refused"
                cursors[longer] = after
            if after is not None and (longer not in live or len(longer) % 3 == 0):
                after = after.copy()
                tail = after.shortest_completion()
                after.accept_bytes(tail)
                assert after.is_complete() and is_right(longer + tail), f"{longer!r} is live, but not by {tail!r}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_live_as_long_as_a_value_is_left(name: str) -> None:
    assert_json_is_exact(SCHEMAS[name], 8)


@pytest.mark.parametrize("seed", range(30))
def test_random_schemas_live_as_long_as_a_value_is_left(seed: int) -> None:
    assert_json_is_exact(SchemaMaker(Random(seed), depth=2).schema(), LONGEST)
