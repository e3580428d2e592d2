"""Numbers are read as the sets say, whichever states they share: against fractions, and masks against brute force."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from espalier.grammar import Cursor, Json, RejectedError, UnsatisfiableError, compile_grammar
from espalier.grammar.value import parse
from tests.grammar.small import END, SMALL, TOKENS, brute, masked

BOUNDS = (0, 1, -1, 7, 10, 31, 99, 100, 255, 65_535, -40, 0.5, -0.5, 1.5e3, 299.99, 1e9)
STEPS = (1, 2, 10, 0.01, 0.5, 2.5)
NUMBERS = (
    "0 -0 0.0 -0.0 0.5 -0.5 0.05 1 -1 1.0 1.5 1.05e3 1.5e3 1e3 9e2 1e-2 5e-1 7 -7 7.0 10 12 15 31 31.0 31.5 32 99 "
    "99.99 100 100.0 255 256 299.9 299.99 299.999 1000 1234567 65535 65535.0 65536 123456789012 1000000000 "
    "1000000001 -40 -41"
).split()


def simple(source: Random) -> dict[str, object]:
    """A schema of numbers that says a few things at once."""
    schema: dict[str, object] = {"type": source.choice(("number", "integer"))}
    for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if source.random() < 0.4:
            schema[name] = source.choice(BOUNDS)
    if source.random() < 0.3:
        schema["multipleOf"] = source.choice(STEPS)
    return schema


def schema_of(source: Random) -> dict[str, object]:
    """A simple schema, or some, of which one or exactly one holds."""
    if source.random() < 0.6:
        return simple(source)
    return {source.choice(("anyOf", "oneOf")): [simple(source) for _ in range(source.randint(2, 3))]}


def holds(schema: dict[str, object], number: Fraction) -> bool:
    """The oracle: what the keywords say, in fractions."""
    for name in ("anyOf", "oneOf"):
        if name in schema:
            num_true = sum(holds(part, number) for part in schema[name])  # type: ignore[attr-defined]
            return num_true > 0 if name == "anyOf" else num_true == 1

    def bound(name: str) -> Fraction | None:
        return Fraction(str(schema[name])) if name in schema else None

    low, above, high, below = map(bound, ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"))
    step = bound("multipleOf")
    return (
        (low is None or number >= low)
        and (above is None or number > above)
        and (high is None or number <= high)
        and (below is None or number < below)
        and (step is None or (number / step).denominator == 1)
        and (schema["type"] == "number" or number.denominator == 1)
    )


def read(start: Cursor, text: str) -> Cursor | None:
    """A copy of a cursor behind a text, None if it is not allowed."""
    cursor = start.copy()
    try:
        cursor.accept_bytes(text.encode())
    except RejectedError:
        return None
    return cursor


@pytest.mark.parametrize("seed", range(40))
def test_a_number_is_read_if_and_only_if_the_schema_allows_it(seed: int) -> None:
    schema = schema_of(Random(seed))
    try:
        start = compile_grammar(Json(schema), SMALL, [END]).start()
    except UnsatisfiableError:
        assert not any(holds(schema, Fraction(text)) for text in NUMBERS)
        return
    for text in NUMBERS:
        cursor = read(start, text)
        is_read = cursor is not None and cursor.is_complete()
        assert is_read == holds(schema, Fraction(text)), f"{text} against {schema}"
        if cursor is not None:
            ended = text.encode() + cursor.shortest_completion()
            assert holds(schema, Fraction(ended.decode())), f"{ended!r} after {text} against {schema}"
            assert parse(ended) is not None


@pytest.mark.parametrize("seed", range(24))
def test_the_mask_of_a_number_is_brute_force(seed: int) -> None:
    schema = schema_of(Random(seed))
    item: dict[str, object] = {"type": "array", "items": schema, "minItems": 1}
    try:
        start = compile_grammar(Json(item), SMALL, [END]).start()
    except UnsatisfiableError:
        return
    for text in NUMBERS[seed % 8 :: 8]:
        cursor = start.copy()
        cursor.accept_bytes(b"[")
        for place, byte in enumerate(text.encode()):
            try:
                cursor.accept_bytes(bytes([byte]))
            except RejectedError:
                break
            wrong = [TOKENS[token] for token in sorted(set(masked(cursor)) ^ set(brute(cursor)))]
            assert not wrong, f"after {text[: place + 1]} against {schema} the mask and brute force differ on {wrong}"


def test_the_digits_of_a_number_that_may_go_on_anyhow_do_not_matter_to_its_mask() -> None:
    grammar = compile_grammar(Json({"type": "array", "items": {"type": "integer", "minimum": 0}}), SMALL, [END])
    found = []
    for text in (b"[12", b"[345678", b"[1000000000000"):
        cursor = grammar.start()
        cursor.accept_bytes(text)
        found.append(masked(cursor))
    assert found[0] == found[1] == found[2]


def test_the_bound_on_digits_holds_behind_many_digits() -> None:
    start = compile_grammar(Json({"type": "array", "items": {"type": "number"}}), SMALL, [END]).start()
    for text in ("[" + "7" * 56, "[" + "7" * 57, "[" + "7" * 63, "[" + "7" * 64, "[0." + "3" * 57, "[7." + "3" * 60):
        cursor = read(start, text)
        assert cursor is not None and masked(cursor) == brute(cursor)
    assert read(start, "[" + "7" * 65) is None
