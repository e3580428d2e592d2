"""Strings of finite sets are read by their trie as automata read them."""

from __future__ import annotations

import json
from random import Random

import pytest

from espalier.grammar import Json, RejectedError, compile_grammar
from espalier.grammar.enum_core import enum_frame
from espalier.grammar.text import Language
from tests.grammar.small import END, SMALL, TOKENS, brute, masked

WORDS = ("", "a", "ab", "abc", "aab", "b", "é", "aé", "日本", "answer", "call", "the", "the a")


def schemas(seed: int) -> tuple[dict[str, object], set[str]]:
    """Schemas of strings of a finite set, and the set."""
    source = Random(seed)
    left, right = (source.sample(WORDS, source.randint(1, 6)) for _ in range(2))
    ways: list[tuple[dict[str, object], set[str]]] = [
        ({"enum": left}, set(left)),
        ({"type": "string", "anyOf": [{"enum": left}, {"enum": right}]}, {*left, *right}),
        ({"oneOf": [{"enum": [*left, "x"]}, {"enum": right}]}, {*left, "x"} ^ set(right)),
        ({"enum": [*left, "y"], "not": {"enum": right}}, {*left, "y"}.difference(right)),
        ({"enum": [*left, "\n"]}, {*left, "\n"}),
    ]
    return ways[seed % len(ways)]


@pytest.mark.parametrize("seed", range(30))
def test_a_string_is_read_if_and_only_if_it_is_in_the_set(seed: int) -> None:
    schema, texts = schemas(seed)
    start = compile_grammar(Json(schema), SMALL, [END]).start()
    for text in (*WORDS, "x", "y", "\n", "th", "the ab"):
        cursor = start.copy()
        try:
            cursor.accept_bytes(json.dumps(text, ensure_ascii=False).encode())
        except RejectedError:
            assert text not in texts
        else:
            assert text in texts and cursor.is_complete()


@pytest.mark.parametrize("seed", range(10))
def test_the_mask_inside_of_a_string_is_brute_force(seed: int) -> None:
    schema, texts = schemas(seed)
    item: dict[str, object] = {"type": "array", "items": schema}
    start = compile_grammar(Json(item), SMALL, [END]).start()
    for text in sorted(texts)[:3]:
        cursor = start.copy()
        for byte in f"[{json.dumps(text, ensure_ascii=False)}".encode():
            cursor.accept_bytes(bytes([byte]))
            wrong = [TOKENS[token] for token in sorted(set(masked(cursor)) ^ set(brute(cursor)))]
            assert not wrong, f"inside of {text!r} against {schema} the mask and brute force differ on {wrong}"


def test_what_follows_a_member_depends_on_which_text_it_was() -> None:
    kinds = [
        {"properties": {"k": {"const": kind}, "v": {"type": kind}}, "required": ["k", "v"]}
        for kind in ("string", "null")
    ]
    start = compile_grammar(Json({"type": "object", "oneOf": kinds}), SMALL, [END]).start()
    for kind, value, other in (("string", b'"a"', b"null"), ("null", b"null", b'"a"')):
        cursor = start.copy()
        cursor.accept_bytes(b'{"k":"' + kind.encode() + b'","v":')
        assert masked(cursor) == brute(cursor)
        with pytest.raises(RejectedError):
            cursor.copy().accept_bytes(other)
        cursor.accept_bytes(value + b"}")
        assert cursor.is_complete()


def test_only_finite_sets_that_need_no_escapes_are_read_so() -> None:
    plain, quoted = Language.literals(["a", "b"]), Language.literals(['a"'])
    assert enum_frame((plain, Language.NOTHING)) is not None
    assert enum_frame((quoted,)) is None
    assert enum_frame((plain, Language.pattern("^c"))) is None
    assert enum_frame((Language.NOTHING,)) is None
