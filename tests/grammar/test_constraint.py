"""Constraints as values, and what is refused before anything is compiled."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest

from espalier.grammar import (
    AnyConstraint,
    AnyJson,
    Choice,
    Constraint,
    ConstraintError,
    GrammarTooLargeError,
    Json,
    Literal,
    OneOf,
    PatternError,
    Regex,
    RejectedError,
    Repeat,
    SchemaError,
    Sequence,
    Special,
    Text,
    UnsatisfiableError,
    VocabularyError,
    compile_grammar,
)
from espalier.grammar.number_frame import number_machine
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.small import CALL, END, SMALL, TOKENS
from tests.grammar.test_mask import COMPOSED
from tests.grammar.walk import METASCHEMAS, OPTIONS

A = Literal(b"a")


def made() -> list[AnyConstraint]:
    """Many constraints, made anew."""
    documents: Any = {"a:b": {"type": "null"}, "a:c": True}
    return [
        *COMPOSED.values(),
        *(options.constraint(schema) for schema in SCHEMAS.values() for options in OPTIONS),
        Json({"$ref": "a:b"}, documents=documents, draft="draft-07", part="answer"),
        Repeat(Choice((b"\xff\x00", b""), part="text"), least=2),
    ]


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_constraints_survive_the_wire(codec: Any) -> None:
    for sent in made():
        received = codec.decode(codec.encode(sent), type=AnyConstraint)
        assert received == sent and hash(received) == hash(sent) and type(received) is type(sent)


def test_equal_constraints_are_one_key_and_different_ones_are_not() -> None:
    assert len(set(made())) == len({*made(), *made()}) == len(made())
    known: dict[Constraint, str] = {Json({"type": "string", "maxLength": 3}): "found"}
    assert known[Json('{"type":"string","maxLength":3}')] == "found"
    documents: Any = {"a:c": True, "a:b": "{}"}
    assert Json(True, documents=documents) == Json("true", documents=(("a:b", "{}"), ("a:c", "true")))
    assert Literal(b"a") != Literal(b"a", part="text")
    assert Text(until=1) != Text(until=b"\x01") != Text()


def test_a_grammar_of_what_came_over_the_wire_is_the_same() -> None:
    sent = COMPOSED["a call"]
    received = msgspec.json.decode(msgspec.json.encode(sent), type=AnyConstraint)
    texts = [compile_grammar(each, SMALL).start().shortest_completion() for each in (sent, received)]
    assert texts[0] == texts[1] == b'calla:{"name":"ab","arguments":{"a":0}}'


NONSENSE: dict[str, tuple[Any, type[Exception], str]] = {
    "no constraint": (None, ConstraintError, "expected a constraint"),
    "a text": ("a", ConstraintError, "expected a constraint"),
    "no options": (OneOf(()), ConstraintError, "OneOf.options"),
    "formats that only yield": (Json(True, formats_can_yield=True), ConstraintError, "Json.formats_can_yield"),
    "no texts": (Choice(()), ConstraintError, "Choice.texts"),
    "no options inside": (Sequence((A, Repeat(OneOf(())))), ConstraintError, "OneOf.options"),
    "more at least than at most": (Repeat(A, 3, 2), ConstraintError, "0 <= least <= most"),
    "fewer than none": (Repeat(A, -1), ConstraintError, "0 <= least <= most"),
    "an empty marker": (Text(until=b""), ConstraintError, "Text.until"),
    "a list": (Sequence([A]), ConstraintError, "Sequence.items"),  # type: ignore[arg-type]
    "a str": (Literal("a"), ConstraintError, "Literal.text"),  # type: ignore[arg-type]
    "bytes": (Regex(b"a"), ConstraintError, "Regex.pattern"),  # type: ignore[arg-type]
    "a count": (Repeat(A, most="3"), ConstraintError, "Repeat.most"),  # type: ignore[arg-type]
    "an order": (Json(True, property_order="alphabetical"), ConstraintError, "Json.property_order"),  # type: ignore[arg-type]
    "white space": (Json(True, white_space="none"), ConstraintError, "Json.white_space"),  # type: ignore[arg-type]
    "a draft": (Json(True, draft="2020"), ConstraintError, "Json.draft"),  # type: ignore[arg-type]
    "not JSON": (Json("type: string"), SchemaError, "has to be JSON"),
    "a malformed schema": (OneOf((A, Json({"type": "text"}))), SchemaError, "/type"),
    "a malformed pattern": (Regex("ab(c"), PatternError, "position 2"),
    "a pattern that closes what it did not open": (Regex("a)|(b"), PatternError, "position 1"),
    "a class of nothing": (Regex("[^\\s\\S]"), UnsatisfiableError, "no text"),
    "a schema of nothing": (Sequence((A, Json(False))), UnsatisfiableError, "no value"),
    "an ordinary token": (Special(TOKENS.index(b"a")), VocabularyError, "without bytes"),
    "a token beyond": (Special(len(TOKENS)), VocabularyError, "without bytes"),
    "a negative token": (Text(until=-1), VocabularyError, "without bytes"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_by_name(name: str) -> None:
    constraint, error, message = NONSENSE[name]
    with pytest.raises(error, match=message.replace("(", r"\(")):
        compile_grammar(constraint, SMALL, [END])


def test_a_schema_that_cannot_be_json_is_refused_where_it_is_given() -> None:
    for schema in ({"const": {1, 2}}, {"const": float("nan")}, object()):
        with pytest.raises(SchemaError, match="has to be JSON"):
            Json(schema)  # type: ignore[arg-type]


@pytest.mark.parametrize("end_token", [-1, len(TOKENS)])
def test_an_end_token_has_to_be_in_the_vocabulary(end_token: int) -> None:
    with pytest.raises(VocabularyError, match=f"end token {end_token}"):
        compile_grammar(A, SMALL, [END, end_token])


def test_constraints_inside_each_other_are_bounded() -> None:
    deep: AnyConstraint = A
    for _ in range(50):
        deep = Sequence((OneOf((deep,)),))
    assert compile_grammar(deep, SMALL).start().forced() == b"a"
    deep = Repeat(deep, 1, 1)
    with pytest.raises(GrammarTooLargeError) as raised:
        compile_grammar(deep, SMALL)
    assert raised.value.limit == "constraints"


def test_references_are_found_in_documents_and_nowhere_else() -> None:
    schema: Any = {"$ref": "https://json-schema.org/draft/2020-12/meta/format-annotation"}
    with pytest.raises(SchemaError, match="was handed in"):
        compile_grammar(Json(schema), SMALL)
    cursor = compile_grammar(Json(schema, documents=tuple(METASCHEMAS.items())), SMALL).start()
    cursor.accept_bytes(b'{"format":"x"}')
    assert cursor.is_complete()


def test_parts_may_be_empty_and_repeated() -> None:
    empty: list[AnyConstraint] = [
        Literal(b""),
        Sequence(()),
        Repeat(A, 0, 0),
        Repeat(Literal(b""), 3),
        Repeat(Sequence((Choice((b"",)), Sequence(()))), 2, 5),
    ]
    for constraint in empty:
        cursor = compile_grammar(constraint, SMALL, [END]).start()
        assert cursor.is_complete() and SMALL.unpacked(cursor.allowed().mask).tolist() == [END]
    texts = Repeat(OneOf((Repeat(Choice((b"ab", b""))), Regex("c*"), Special(CALL))), least=3)
    cursor = compile_grammar(texts, SMALL, [END]).start()
    for text in (b"ab", b"abccab", b"c", b"ca"):
        assert cursor.is_complete()
        cursor.accept_bytes(text)
    assert not cursor.is_complete() and cursor.shortest_completion() == b"b"
    cursor.accept_bytes(b"b")
    cursor.accept(CALL)
    assert cursor.is_complete()


def test_any_json_is_the_schema_true() -> None:
    for text in (b"[1,null]", b'{"a":{}}', b'"x"', b"-1.5e-3"):
        for constraint in (AnyJson(), Json(True)):
            cursor = compile_grammar(constraint, SMALL).start()
            cursor.accept_bytes(text)
            assert cursor.is_complete() and json.loads(text) is not ...


@pytest.mark.parametrize("schema", [{"type": "number"}, {"type": "integer"}, {"type": "number", "minimum": -1e9}])
def test_what_numbers_were_read_before_changes_nothing(schema: dict[str, object]) -> None:
    # States are shared by all grammars of the process, and forget digits: not whether an exponent may follow.
    texts = ["0.5", "0.0", "1.5e3", "-1.5e3", "1.0e2", "-0.25", "10.5", "7e2", "0.5e1", "10.0", "-10.5e1", "12e1"]
    fresh = {"0.5e1", "-10.5e1", "12e1"} | ({"0.5", "-0.25", "10.5"} if schema["type"] == "integer" else set())
    for seed in range(6):
        number_machine.cache_clear()
        for text in Random(seed).sample(texts, len(texts)):
            cursor = compile_grammar(Json(schema), SMALL, [END]).start()
            try:
                cursor.accept_bytes(text.encode())
                accepted = cursor.is_complete()
            except RejectedError:
                accepted = False
            assert accepted == (text not in fresh), text
