"""Masks are what brute force says: a token is allowed if and only if its bytes are."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random

import pytest

from espalier.grammar import (
    AnyConstraint,
    AnyJson,
    Choice,
    Grammar,
    Json,
    Literal,
    OneOf,
    Regex,
    RejectedError,
    Repeat,
    SchemaError,
    Sequence,
    Special,
    Text,
    UnsatisfiableError,
    Vocabulary,
    compile_grammar,
)
from espalier.grammar.keyword import keywords
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.random_schema import SchemaMaker
from tests.grammar.small import CALL, END, OTHER_END, SMALL, THINK, TOKENS, brute, drawn, masked
from tests.grammar.walk import OPTIONS, Options

CALLS = Json(SCHEMAS["tools"], part="arguments")
COMPOSED: dict[str, AnyConstraint] = {
    "literal": Literal(b'true"'),
    "choice": Choice((b"a", b"ab", b"aab", "é€".encode(), b"")),
    "regex": Regex("(ab|é){1,3}[^\\x00-a]?"),
    "counted regex": Regex(".{2,5}"),
    "text": Text(),
    "text until bytes": Text(until=b"aab"),
    "text until a quote": Text(until=b'"'),
    "text until a token": Text(until=CALL),
    "special": Special(THINK),
    "any json": AnyJson(),
    "a call": Sequence((Text(until=b"call"), Choice((b"a", b"ab", b"abc")), Literal(b":"), CALLS)),
    "think, then answer": Sequence((Special(THINK), Text(until=b"</"), OneOf((CALLS, Literal(b"the answer"))))),
    "text or calls": OneOf((Text(), Repeat(Sequence((Special(CALL), CALLS, Special(OTHER_END))), least=1))),
    "some calls": Repeat(Sequence((Literal(b"<"), AnyJson(), Literal(b">"))), least=1, most=2),
    "numbers in a row": Repeat(Sequence((Json({"type": "number"}), Choice((b"", b",", b".", b"e1")))), least=2),
    "what may end or go on": Sequence((Regex("a*"), Regex("(ab)*"), Text(), Special(CALL))),
    "strings in a row": Sequence((Json({"type": "string"}), Literal(b'"'), AnyJson(), Regex('[":}]*'))),
    "any json in a row": Repeat(AnyJson(), least=1, most=3),
    "options that begin alike": OneOf((Json(SCHEMAS["objects"]), AnyJson(), Regex('\\{"a.*'), Literal(b'{"b":1'))),
}


def assert_is_brute_force(constraint: AnyConstraint, seed: str, num_tokens: int) -> None:
    """At every step of a random walk; and that the walk has no dead end."""
    random = Random(seed)
    cursor = compile_grammar(constraint, SMALL, [END]).start()
    text = b""
    for _ in range(num_tokens):
        tokens = masked(cursor)
        expected = brute(cursor)
        wrong = [(token, TOKENS[token]) for token in sorted(set(tokens) ^ set(expected))]
        assert not wrong, f"after {text!r} the mask and brute force differ on {wrong}"
        assert tokens, f"nothing is allowed after {text!r}"
        token = drawn(cursor, tokens, random)
        if token == END:
            break
        text += TOKENS[token] or b""
        cursor.accept(token)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_mask_of_a_schema_is_brute_force(name: str) -> None:
    for number, options in enumerate(OPTIONS):
        assert_is_brute_force(options.constraint(SCHEMAS[name]), f"{name} {number}", 5)


NESTED: dict[str, dict[str, object]] = {
    "alike inside": {
        "properties": {
            "a": {"properties": {"a": {"$ref": "#/$defs/pair"}, "b": {"$ref": "#/$defs/pair"}}, "required": ["b"]},
            "b": {"type": "array", "items": {"$ref": "#/$defs/pair"}, "maxItems": 2},
            "ab": {"$ref": "#/$defs/pair"},
        },
        "additionalProperties": {"$ref": "#/$defs/pair"},
        "$defs": {"pair": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}},
    },
    "the last one ends differently": {
        "type": "array",
        "prefixItems": [{"$ref": "#/$defs/few"}, {"$ref": "#/$defs/few"}],
        "items": False,
        "minItems": 2,
        "$defs": {"few": {"type": "array", "items": {"type": "array", "items": {"enum": ["a", "ab"]}}}},
    },
    "different items": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}, "uniqueItems": True},
    "trees": {"type": "object", "additionalProperties": {"$ref": "#"}, "properties": {"a": {"const": "a"}}},
}


@pytest.mark.parametrize("name", [*SCHEMAS, *NESTED])
def test_masks_that_one_grammar_keeps_are_brute_force_wherever_they_are_used(name: str) -> None:
    random, options = Random(name), OPTIONS[len(name) % len(OPTIONS)]
    grammar = compile_grammar(options.constraint({**SCHEMAS, **NESTED}[name]), SMALL, [END])
    for _ in range(12 if name in NESTED else 3):
        cursor, text = grammar.start(), b""
        for _ in range(20 if name in NESTED else 8):
            tokens = masked(cursor)
            wrong = [TOKENS[token] for token in sorted(set(tokens) ^ set(brute(cursor)))]
            assert not wrong, f"after {text!r} the mask and brute force differ on {wrong}"
            token = drawn(cursor, tokens, random)
            if token == END:
                break
            text += TOKENS[token] or b""
            cursor.accept(token)


@pytest.mark.parametrize("name", COMPOSED)
def test_the_mask_of_a_composed_constraint_is_brute_force(name: str) -> None:
    for seed in range(5):
        assert_is_brute_force(COMPOSED[name], f"{name} {seed}", 12)


def test_every_keyword_of_every_draft_is_in_the_table() -> None:
    known = {
        name for draft in ("draft-04", "draft-06", "draft-07", "2019-09", "2020-12") for name in keywords(draft, None)
    }
    enforced: set[str] = set()
    for schema in SCHEMAS.values():
        enforced |= set(compile_grammar(Json(schema, assert_formats=True), SMALL).coverage()["enforced"])
    assert enforced == known


def test_a_format_that_nobody_knows_is_an_annotation() -> None:
    for name, told in (("date", "enforced"), ("color", "annotations")):
        coverage = compile_grammar(Json({"format": name}, assert_formats=True), SMALL).coverage()
        assert [kind for kind, names in coverage.items() if "format" in names] == [told]


@pytest.mark.parametrize(
    ("beside", "text", "is_kept"),
    [
        ({"pattern": "^[0-9]{2}:[0-9]{2}$"}, "10:00", False),
        ({"pattern": "^1"}, "10", True),
        ({"enum": ["morning", "evening", None]}, "morning", False),
        ({"enum": ["morning", "10:00:00Z"]}, "morning", True),
        ({"const": "noon"}, "noon", False),
        ({"maxLength": 5}, "10:00", False),
        ({"maxLength": Decimal("5.0")}, "10:00", False),
        ({"minLength": 9}, "ten o'clock", True),
        ({"pattern": "^a", "maxLength": 0}, "", True),
    ],
    ids=str,
)
def test_a_format_yields_to_what_contradicts_it(beside: dict[str, object], text: str, is_kept: bool) -> None:
    """Only where it is said that it may, and only where the others leave something."""
    schema = {"format": "time", "type": ["string", "null"], **beside}
    yielding = compile_grammar(Json(_text_of(schema), assert_formats=True, formats_can_yield=True), BYTES, [256])
    told = yielding.coverage()
    assert ("format" in told["enforced"], "format" in told["annotations"]) == (is_kept, not is_kept)
    assert _accepts(yielding, text) is not is_kept
    if "const" not in beside:  # nothing would be left
        assert not _accepts(compile_grammar(Json(_text_of(schema), assert_formats=True), BYTES, [256]), text)


BYTES = Vocabulary([*(bytes([byte]) for byte in range(256)), None])


def _text_of(schema: dict[str, object]) -> str:
    return json.dumps(schema, default=str).replace('"5.0"', "5.0")


def _accepts(grammar: Grammar, text: str) -> bool:
    cursor = grammar.start()
    try:
        for byte in json.dumps(text).encode():
            cursor.accept(byte)
    except RejectedError:
        return False
    return True


def test_a_keyword_that_the_dialect_has_not_contradicts_no_format() -> None:
    schema: dict[str, object] = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "format": "ipv4",
        "const": "noon",
    }
    told = compile_grammar(Json(schema, assert_formats=True, formats_can_yield=True), SMALL).coverage()
    assert "format" in told["enforced"] and "const" in told["ignored"]


def test_a_dialect_that_asserts_formats_is_not_excused() -> None:
    vocabularies = {
        f"https://json-schema.org/draft/2020-12/vocab/{name}": True
        for name in ("core", "validation", "format-assertion")
    }
    documents: dict[str, str | bool | dict[str, object]] = {
        "https://x.y/strict": {"$id": "https://x.y/strict", "$vocabulary": vocabularies}
    }
    schema: dict[str, object] = {
        "$schema": "https://x.y/strict",
        "type": "string",
        "format": "time",
        "maxLength": 3,
    }
    with pytest.raises(UnsatisfiableError):
        compile_grammar(Json(schema, documents=documents, assert_formats=True, formats_can_yield=True), SMALL)


def test_special_tokens_are_allowed_only_where_they_are_named() -> None:
    cursor = compile_grammar(Sequence((Special(THINK), Text(until=CALL), AnyJson())), SMALL, [END, OTHER_END]).start()
    assert masked(cursor) == [THINK]
    cursor.accept(THINK)
    texts = [token for token, text in enumerate(TOKENS) if text]
    assert masked(cursor) == sorted([*texts, CALL])
    cursor.accept_bytes(b"[CALL]")
    assert CALL in masked(cursor) and not {END, OTHER_END, THINK} & set(masked(cursor))
    cursor.accept(CALL)
    assert not {0, END, CALL, OTHER_END, THINK} & set(masked(cursor))
    cursor.accept_bytes(b"{}")
    assert masked(cursor) == [END, OTHER_END]
    cursor.accept(OTHER_END)
    assert masked(cursor) == []


def test_tokens_with_equal_bytes_are_allowed_together_and_those_without_never() -> None:
    cursor = compile_grammar(Json(True), SMALL, [END]).start()
    twins = [token for token, text in enumerate(TOKENS) if text == b'"']
    assert len(twins) == 4 and set(twins) <= set(masked(cursor))
    assert not [token for token in masked(cursor) if not TOKENS[token]]


def test_a_large_vocabulary_with_gaps_has_the_mask_of_its_tokens() -> None:
    tokens: list[bytes | None] = [None] * 200_000
    places = Random(0).sample(range(len(tokens)), len(TOKENS))
    for place, text in zip(places, TOKENS, strict=True):
        tokens[place] = text
    vocabulary = Vocabulary(tokens)
    end = places[END]
    large, small = (
        compile_grammar(Json(SCHEMAS["tools"]), *over).start() for over in ((vocabulary, [end]), (SMALL, [END]))
    )
    for byte in small.shortest_completion():
        assert masked(large, vocabulary) == sorted(places[token] for token in masked(small))
        for cursor in (large, small):
            cursor.accept_bytes(bytes([byte]))
    assert masked(large, vocabulary) == [end]


@pytest.mark.parametrize("seed", range(24))
def test_the_mask_of_a_random_schema_is_brute_force(seed: int) -> None:
    random = Random(seed)
    schema, options = SchemaMaker(random).schema(), random.choice(OPTIONS)
    inside: AnyConstraint = options.constraint(schema)
    around = Sequence((Text(until=b"call"), inside, Choice((b"", b"a", b"]"))))
    try:
        constraints: tuple[AnyConstraint, ...] = (inside, around)
        for number, constraint in enumerate(constraints):
            assert_is_brute_force(constraint, f"{seed} {number}", 10)
    except (SchemaError, UnsatisfiableError):  # a reference may lead back to itself
        pass


@pytest.mark.parametrize("pattern", ["^..$", "^a.b?$", "^[ab]..$", "^(a|b|aa|ab)$"])
@pytest.mark.parametrize("options", OPTIONS[::3])
def test_a_name_that_is_used_is_not_allowed_again_however_it_begins(pattern: str, options: Options) -> None:
    schema = {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": {"const": 0}}
    grammar, random = compile_grammar(options.constraint(schema), SMALL, [END]), Random(pattern)
    for _ in range(12):
        cursor = grammar.start()
        names = random.sample(["ab", "aa", "ba", "a\u00e9", "aab", "bab", "b", "a"], 5)
        for byte in ("{" + ",".join(f'"{name}":0' for name in names)).encode():
            assert masked(cursor) == brute(cursor)
            try:
                cursor.accept_bytes(bytes([byte]))
            except RejectedError:
                break
