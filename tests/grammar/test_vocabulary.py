"""Vocabularies: packed masks, tails behind quotes, and those that lack bytes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from espalier.grammar import (
    AnyConstraint,
    AnyJson,
    Choice,
    Json,
    Literal,
    Regex,
    Repeat,
    Sequence,
    Text,
    UnsatisfiableError,
    Vocabulary,
    VocabularyError,
    compile_grammar,
)
from tests.grammar.small import BYTES, END, SMALL, TOKENS, brute, masked, walk

ASCII = list(range(0x20, 0x7F))
WIDE: list[bytes | None] = [None, b'"}', "é".encode(), 'é"'.encode(), b"ab", b"a\xc3", b"true", b'":', b"\n"]


def lacking(*missing: int) -> Vocabulary:
    """All ASCII that is printed but some of it, and longer tokens."""
    return Vocabulary([*WIDE, *(bytes([byte]) for byte in ASCII if byte not in missing)])


def test_masks_are_packed_and_unpacked() -> None:
    random = Random(0)
    for size in (1, 31, 32, 33, 200_000):
        vocabulary = Vocabulary([b"a"] * size)
        chosen = sorted(random.sample(range(size), min(size, 50)))
        mask = vocabulary.packed(np.array(chosen, dtype=np.int32))
        assert mask.dtype == np.int32 and mask.size == vocabulary.num_words == -(-size // 32)
        assert [token for token in range(size) if mask[token // 32] >> (token % 32) & 1] == chosen
        assert vocabulary.unpacked(mask).tolist() == chosen
        assert not vocabulary.empty_mask().any()


def test_tails_are_what_tokens_say_behind_their_quotes() -> None:
    trie, tails = SMALL.trie, SMALL.tails
    found = set()
    for node in range(len(trie)):
        _, rows = tails.rows(np.array([node]))
        found |= {(node, token, place) for token, place in zip(tails.tokens[rows], tails.places[rows], strict=True)}
    expected = {
        (trie.find(text[: place + 1]), token, tails.trie.find(text[place + 1 :]))
        for token, text in enumerate(TOKENS)
        if text
        for place, byte in enumerate(text)
        if byte == ord('"')
    }
    assert found == expected and all(place >= 0 for _, _, place in found)


def test_single_bytes_are_those_that_are_tokens_by_themselves() -> None:
    assert BYTES.single_bytes == SMALL.single_bytes == frozenset(range(256))
    assert Vocabulary([b"a", None, b"", b"bc", b"a"]).single_bytes == {0x61}


@pytest.mark.parametrize("missing", b'{}[],:"\\0-et')
def test_json_needs_the_bytes_that_it_is_made_of(missing: int) -> None:
    for constraint in (Json({"type": "null"}), AnyJson(), Sequence((Literal(b"a"), Repeat(AnyJson())))):
        with pytest.raises(VocabularyError, match="needs bytes that are no tokens"):
            compile_grammar(constraint, lacking(missing))


@pytest.mark.parametrize(
    "constraint",
    [
        Literal("é".encode()),
        Choice((b"a", b"~")),
        Text(until=b"~"),
        Regex("é+"),
        Regex("a~|b~"),
        Json({"const": "~"}),
        Json({"enum": [["é"], {"é": 1}, {"a": "~"}]}),
        Json({"type": "object", "required": ["~"]}),
        Json({"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[^\\x00-\\x7f]"}}),
        Json({"type": "object", "minProperties": 1, "propertyNames": {"pattern": "~"}}),
        Json({"type": "string", "pattern": "\\x7f"}),
    ],
)
def test_what_cannot_be_spelled_byte_by_byte_is_refused(constraint: AnyConstraint) -> None:
    compile_grammar(constraint, BYTES)
    with pytest.raises(VocabularyError):
        compile_grammar(constraint, lacking(ord("~")))


def test_what_nothing_satisfies_is_not_the_fault_of_the_vocabulary() -> None:
    for constraint in (Json({"const": "~", "type": "null"}), Regex("[^\\s\\S]")):
        with pytest.raises(UnsatisfiableError):
            compile_grammar(constraint, lacking(ord("~")))


SPELLED: dict[str, tuple[AnyConstraint, bytes]] = {
    "enum": (Json({"enum": ["~", "é", "ghab"]}), b'"ghab"'),
    "escapes": (Json({"type": "string", "pattern": "^\\n[~ag]$"}), b'"\\na'),
    "long": (Json({"type": "string", "minLength": 2}), b'"'),
    "names": (Json({"type": "object", "minProperties": 1}), b'{"'),
    "any": (AnyJson(), b"0"),
    "regex": (Regex("[~ég]+"), b"g"),
    "rare": (
        Json({"type": "string", "not": {"enum": [chr(code) for code in ASCII]}, "minLength": 1, "maxLength": 1}),
        b'"\\',
    ),
}


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize("missing", [b"~", b"~g", b"~#g"])
def test_only_bytes_that_are_tokens_count_as_ways_on(name: str, missing: bytes) -> None:
    constraint, begin = SPELLED[name]
    vocabulary = lacking(*missing)
    if b"g" in missing and name in ("enum", "regex"):
        with pytest.raises(VocabularyError):
            compile_grammar(constraint, vocabulary)
        return
    grammar, random = compile_grammar(constraint, vocabulary, [0]), Random(name)
    assert grammar.start().shortest_completion().startswith(begin)
    for _ in range(8):
        cursor = grammar.start()
        for token in walk(grammar, random, 8, vocabulary):
            assert masked(cursor, vocabulary) == brute(cursor, vocabulary)
            if token == 0:
                break
            cursor.accept(token)
        tail = cursor.shortest_completion()
        assert set(tail) <= vocabulary.single_bytes
        cursor.accept_bytes(tail)
        assert token == 0 or cursor.is_complete()


def test_a_vocabulary_may_lack_first_bytes_that_nothing_needs() -> None:
    bytes_of_utf8 = [*range(0x20, 0x80), *range(0x80, 0xC0), *range(0xC2, 0xF0)]
    vocabulary = Vocabulary([*(bytes([byte]) for byte in bytes_of_utf8), "😀".encode(), b"x\xf0", None])
    cursor = compile_grammar(Json({"type": "string", "minLength": 1}), vocabulary).start()
    cursor.accept_bytes(b'"')
    allowed = {vocabulary.tokens[token] for token in masked(cursor, vocabulary)}
    assert b"\xc3" in allowed and not {"😀".encode(), b"x\xf0"} & allowed
    with pytest.raises(VocabularyError):
        compile_grammar(Json({"const": "😀"}), vocabulary)
    assert compile_grammar(Json({"const": "€"}), vocabulary, [END]).start().forced() == '"€"'.encode()


def test_escapes_that_a_schema_asks_for_are_not_the_vocabulary_s() -> None:
    cursor = compile_grammar(Json({"const": "a\n\u0001"}), lacking()).start()
    assert cursor.forced().lower() == b'"a\\n\\u0001"'
