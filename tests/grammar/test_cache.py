"""The cache of grammars: its bound, the tenants' shares, and what it remembers of refusals."""

from __future__ import annotations

import pytest

from espalier.grammar import GrammarTooLargeError, Json, Limits, SchemaError, UnsatisfiableError, Vocabulary
from espalier.grammar.cache import GrammarCache

VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)])


def unique(number: int) -> Json:
    return Json({"enum": [f"u{number}"]})


def test_an_equal_constraint_gets_the_same_grammar() -> None:
    cache = GrammarCache()
    first = cache.get("ada", Json({"type": "integer"}), VOCABULARY, [1])
    assert cache.get("ada", Json({"type": "integer"}), VOCABULARY, [1]) is first


def test_vocabulary_end_tokens_limits_spelling_and_tenant_tell_grammars_apart() -> None:
    cache, schema = GrammarCache(), Json({"type": "integer"})
    first = cache.get("ada", schema, VOCABULARY)
    others = [
        cache.get("ada", schema, VOCABULARY, [1]),
        cache.get("ada", schema, VOCABULARY, limits=Limits(states=10)),
        cache.get("ada", schema, Vocabulary(VOCABULARY.tokens)),
        cache.get("ada", Json({"type": "integer"}, white_space="natural"), VOCABULARY),
        cache.get("bob", schema, VOCABULARY),
    ]
    assert len({id(first), *map(id, others)}) == 6


def flood(num_schemas: int) -> None:
    cache = GrammarCache(budget_bytes=1_000_000)
    mine = cache.get("ada", unique(-1), VOCABULARY)
    for number in range(num_schemas):
        cache.get("bob", unique(number), VOCABULARY)
        assert cache.grammars.num_bytes <= 1_000_000
    assert len(cache.grammars) > 10
    assert cache.grammars.held_by("ada") + cache.grammars.held_by("bob") == cache.grammars.num_bytes
    assert cache.get("ada", unique(-1), VOCABULARY) is mine


def test_a_flood_of_unique_enums_stays_bounded_and_leaves_another_tenant_alone() -> None:
    flood(3_000)


@pytest.mark.slow
def test_a_hundred_thousand_unique_enums_stay_bounded() -> None:
    flood(100_000)


def test_the_least_recently_used_grammar_of_the_largest_tenant_goes_first() -> None:
    size = GrammarCache()
    size.get("ada", unique(10), VOCABULARY)
    cache = GrammarCache(budget_bytes=size.grammars.num_bytes * 5 // 2)
    first, second = (cache.get("ada", unique(number), VOCABULARY) for number in (10, 11))
    assert cache.get("ada", unique(10), VOCABULARY) is first
    cache.get("ada", unique(12), VOCABULARY)
    assert cache.get("ada", unique(10), VOCABULARY) is first
    assert cache.get("ada", unique(11), VOCABULARY) is not second


def test_what_a_grammar_grows_by_in_use_is_counted() -> None:
    cache, schema = GrammarCache(), Json({"type": "object", "properties": {"a": {"type": "integer"}}})
    cursor = cache.get("ada", schema, VOCABULARY).start()
    before = cache.grammars.num_bytes
    for byte in b'{"a":12':
        cursor.allowed()
        cursor.accept(byte)
    cache.get("ada", schema, VOCABULARY)
    assert cache.grammars.num_bytes > before


def test_what_grew_too_large_in_use_goes_when_it_is_measured() -> None:
    size, schema = GrammarCache(), Json({"type": "object", "properties": {"a": {"type": "integer"}}})
    size.get("ada", schema, VOCABULARY)
    cache = GrammarCache(budget_bytes=size.grammars.num_bytes)
    grammar = cache.get("ada", schema, VOCABULARY)
    cache.grammars.measure(grammar)
    assert len(cache.grammars) == 1
    grammar.start().allowed()
    cache.grammars.measure(grammar)
    assert (len(cache.grammars), cache.grammars.num_bytes, cache.grammars.held_by("ada")) == (0, 0, 0)
    cache.grammars.measure(grammar)  # which is kept no more
    assert cache.grammars.num_bytes == 0


def test_a_grammar_larger_than_the_cache_is_compiled_and_not_kept() -> None:
    cache = GrammarCache(budget_bytes=100)
    assert cache.get("ada", unique(1), VOCABULARY).start().shortest_completion() == b'"u1"'
    assert (len(cache.grammars), cache.grammars.num_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "something"}, SchemaError),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, UnsatisfiableError),
        ({"enum": list(range(20))}, GrammarTooLargeError),
    ],
)
def test_a_refusal_is_remembered_and_raised_anew(schema: dict[str, object], kind: type[Exception]) -> None:
    cache, limits, told = GrammarCache(), Limits(enum_values=10), []
    for _ in range(3):
        with pytest.raises(kind) as caught:
            cache.get("ada", Json(schema), VOCABULARY, limits=limits)
        told.append(caught.value)
    assert len({str(error) for error in told}) == 1
    assert len({id(error) for error in told}) == 3
    assert {tuple(error.__dict__.items()) for error in told} == {tuple(told[0].__dict__.items())}
    assert (len(cache.refused), len(cache.grammars)) == (1, 0)


def test_refusals_are_bounded_and_cost_nobody_a_grammar() -> None:
    cache = GrammarCache(refused_bytes=50_000)
    mine = cache.get("ada", unique(1), VOCABULARY)
    for number in range(300):
        with pytest.raises(SchemaError):
            cache.get("ada", Json({"type": f"none {number}"}), VOCABULARY)
    assert 0 < cache.refused.num_bytes <= 50_000
    assert cache.get("ada", unique(1), VOCABULARY) is mine
