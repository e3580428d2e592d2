"""A constraint beside its budget: whatever is drawn, the answer is complete in time, and as the schema says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest

from espalier import engine as engine_folder
from espalier.engine.canonical import Canonical
from espalier.engine.guide import Guide
from espalier.engine.tokenizer import Tokenizer
from espalier.grammar import (
    AnyConstraint,
    Grammar,
    Json,
    Literal,
    RejectedError,
    Sequence,
    Text,
    compile_grammar,
)

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 3},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "a longer one"]}, "minItems": 1},
        "inner": {"$ref": "#/$defs/inner"},
        "size": {"type": "number", "minimum": -5, "multipleOf": 0.25},
    },
    "required": ["name", "tags", "inner"],
    "additionalProperties": False,
    "$defs": {
        "inner": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "deeper": {"$ref": "#/$defs/inner"}},
            "required": ["x"],
            "additionalProperties": {"type": "boolean"},
        }
    },
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nested": NESTED,
    "string": {"type": "string"},
    "long": {"type": "string", "minLength": 40},
    "pattern": {"type": "string", "pattern": "^(ab|cd){3,}-[0-9]{2,}$"},
    "anything": {},
    "choices": {
        "anyOf": [{"$ref": "#/$defs/inner"}, {"items": {"type": "integer"}, "minItems": 3}, {"const": None}],
        "$defs": NESTED["$defs"],
    },
    "unique": {"type": "array", "items": {"enum": [1, 2, 3, "four"]}, "uniqueItems": True, "minItems": 2},
    "dependent": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "null"}},
        "dependentRequired": {"a": ["b", "c"], "d": ["a"]},
    },
}
BUNDLED = Path(str(engine_folder.__file__)).parent / "bundled"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(BUNDLED)


@pytest.fixture(scope="module")
def canonical(tokenizer: Tokenizer) -> Canonical:
    return Canonical(tokenizer)


def grammar(tokenizer: Tokenizer, constraint: AnyConstraint) -> Grammar:
    return compile_grammar(constraint, tokenizer.vocabulary, tokenizer.end_token_ids)


def draw(guide: Guide, source: random.Random, size: int) -> int:
    """One of the allowed tokens, each as likely; those of few bytes would otherwise never come."""
    mask = np.zeros(size, dtype=np.int32)
    guide.fill(mask)
    few = guide.few()
    if few is not None:
        return int(source.choice(few.tolist()))
    while True:
        token = source.randrange(32 * size)
        if mask[token >> 5] >> (token & 31) & 1:
            return token


def answer(guide: Guide, tokenizer: Tokenizer, budget: int, source: random.Random) -> list[int]:
    """A random answer of at most `budget` tokens, the end token included."""
    found = guide.jump([], budget)
    while not guide.is_over:
        token = draw(guide, source, tokenizer.vocabulary.num_words)
        left = budget - len(found) - 1
        if not guide.propose(token, left):
            token = int(source.choice(guide.fitting(left).tolist()))
            assert guide.propose(token, left)
        guide.take()
        found.append(token)
        if token in tokenizer.end_token_ids:
            break
        found += guide.jump(found, budget - len(found))
    return found


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("jumps", [True, False])
def test_a_random_answer_is_complete_and_valid_whatever_the_budget(
    tokenizer: Tokenizer, canonical: Canonical, name: str, jumps: bool
) -> None:
    source, schema, closed = random.Random(name), SCHEMAS[name], 0
    compiled, check = grammar(tokenizer, Json(schema)), jsonschema.Draft202012Validator(schema)
    shortest = Guide(compiled, None).closing_cost
    for budget in [*range(shortest, shortest + 12), *(source.randint(shortest, shortest + 100) for _ in range(25))]:
        guide = Guide(compiled, canonical if jumps else None)
        tokens = answer(guide, tokenizer, budget, source)
        assert len(tokens) <= budget
        check.validate(json.loads(tokenizer.decode(tokens)))
        closed += guide.is_closed_by_budget
    assert closed


def test_a_budget_that_is_never_felt_closes_nothing(tokenizer: Tokenizer, canonical: Canonical) -> None:
    compiled, source = grammar(tokenizer, Json(SCHEMAS["unique"])), random.Random(0)
    for _ in range(20):
        guide = Guide(compiled, canonical)
        answer(guide, tokenizer, 1000, source)
        assert not guide.is_closed_by_budget


def test_free_text_leaves_room_for_the_answer(tokenizer: Tokenizer, canonical: Canonical) -> None:
    thought = Sequence((Text(until=b"</think>", part="thought"), Json(NESTED, part="answer")))
    compiled, source = grammar(tokenizer, thought), random.Random(1)
    for _ in range(20):
        guide = Guide(compiled, canonical)
        tokens = answer(guide, tokenizer, 80, source)
        text = tokenizer.decode(tokens)
        json.loads(text.partition("</think>")[2])
        assert len(tokens) <= 80


def test_a_text_that_is_wholly_forced_takes_no_draw(tokenizer: Tokenizer, canonical: Canonical) -> None:
    guide = Guide(grammar(tokenizer, Literal(b'{"a": [1, 2, 3]}')), canonical)
    tokens = guide.jump([], 100)
    assert guide.is_over
    assert tokens == tokenizer.encode('{"a": [1, 2, 3]}')


def test_what_is_forced_is_what_the_tokenizer_writes(tokenizer: Tokenizer, canonical: Canonical) -> None:
    compiled = grammar(tokenizer, Json({"properties": {"kind": {"enum": ["alpha", "beta"]}, "ok": {"const": True}},
                                        "required": ["kind", "ok"], "additionalProperties": False}))  # fmt: skip
    guide = Guide(compiled, canonical)
    found, text = guide.jump([], 100), '{"kind":"beta","ok":true}'
    draws, whole = 0, tokenizer.encode(text)
    while not guide.is_over:
        assert guide.propose(whole[len(found)], 100)
        guide.take()
        found += [whole[len(found)]]
        found += guide.jump(found, 100)
        draws += 1
    assert found == whole
    assert draws <= 3


def test_a_token_that_the_mask_forbids_is_an_error(tokenizer: Tokenizer, canonical: Canonical) -> None:
    guide = Guide(grammar(tokenizer, Json({"type": "integer"})), canonical)
    with pytest.raises(RejectedError):
        guide.propose(tokenizer.encode("x")[0], 100)
