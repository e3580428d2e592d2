"""Judges one schema's grammar by independent validators: what it accepts, what it refuses, that it has no dead ends."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, Literal

import jsonschema_rs
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from espalier.grammar import (
    Cursor,
    Grammar,
    GrammarTooLargeError,
    Json,
    RejectedError,
    SchemaError,
    UnsatisfiableError,
    Vocabulary,
    compile_grammar,
)
from tests.grammar.random_schema import SchemaMaker, constants, mutated, random_value, text

_LONG_NUMBER = re.compile(rb"[0-9.]{16}")
BYTES = Vocabulary([bytes([byte]) for byte in range(256)])


class Judges:
    """Two validators; None where they differ or fail, so that only their common word counts."""

    def __init__(self, schema: Any) -> None:
        self._slow = Draft202012Validator(schema)
        self._fast = jsonschema_rs.Draft202012Validator(schema)

    def word(self, value: Any) -> bool | None:
        """Whether a value is valid."""
        try:
            slow, fast = bool(self._slow.is_valid(value)), bool(self._fast.is_valid(value))
        except (RecursionError, re.error, ValueError):
            return None
        return slow if slow == fast else None


def check(random: Random, counts: Counter[str], num_values: int = 12) -> Iterator[str]:
    """What is wrong about the grammar of one random schema; `counts` says what was met."""
    schema = SchemaMaker(random).schema()
    try:
        judges = Judges(schema)
    except Exception:
        counts["refused by a validator"] += 1
        return
    values = list(_values(random, schema, num_values))
    order: Literal["schema", "any"] = random.choice(("schema", "any"))
    try:
        grammar = compile_grammar(Json(schema, property_order="any", white_space="natural"), BYTES)
        strict = compile_grammar(Json(schema, property_order=order), BYTES)
    except UnsatisfiableError:
        counts["unsatisfiable"] += 1
        yield from (f"refused, but {text(v)} is valid\n{json.dumps(schema)}" for v in values if judges.word(v))
        return
    except (GrammarTooLargeError, SchemaError) as error:
        counts[f"refused: {error.limit if isinstance(error, GrammarTooLargeError) else 'as malformed'}"] += 1
        if isinstance(error, SchemaError) and "reads no" not in str(error) and "without reading" not in str(error):
            yield f"{error}\n{json.dumps(schema)}"
        return
    counts["compiled"] += 1
    # Of numbers with more digits than a float has, the validators see others than were written.
    walked = [json.loads(each) for each in _walks(random, strict, 3) if not _LONG_NUMBER.search(each)]
    values += walked + [mutated(random, value) for value in walked for _ in range(2)]
    for fault in [*_walk_faults(walked, judges), *_value_faults(random, values, grammar, judges, counts)]:
        yield f"{fault}\n{json.dumps(schema)}"


def _values(random: Random, schema: Any, num: int) -> Iterator[Any]:
    named = constants(schema)
    for _ in range(num):
        kind = random.random()
        if named and kind < 0.3:
            yield random.choice(named) if random.random() < 0.5 else mutated(random, random.choice(named))
        else:
            yield random_value(random, random.choice((0, 1, 2, 2, 3)))


def _walk_faults(walked: Iterable[Any], judges: Judges) -> Iterator[str]:
    for value in walked:
        if judges.word(value) is False:
            yield f"wrote {text(value)}, which is invalid"


def _value_faults(
    random: Random, values: Iterable[Any], grammar: Grammar, judges: Judges, counts: Counter[str]
) -> Iterator[str]:
    for value in values:
        word = judges.word(value)
        counts[{None: "judges differ", True: "valid", False: "invalid"}[word]] += 1
        if word is not None:
            yield from _faults(random, value, word, grammar, judges)


def _faults(random: Random, value: Any, valid: bool, grammar: Grammar, judges: Judges) -> Iterator[str]:
    cursor, data = grammar.start(), text(value).encode()
    places = set(random.sample(range(len(data)), min(2, len(data))))
    for place, byte in enumerate(data):
        try:
            cursor.accept_bytes(bytes([byte]))
        except RejectedError:
            if valid:
                yield f"rejects {data.decode()} at byte {place}"
            return
        if place in places:
            yield from _dead_end(data[: place + 1], cursor, judges)
    if cursor.is_complete() != valid:
        yield f"{'does not end behind' if valid else 'accepts invalid'} {data.decode()}"


def _dead_end(read: bytes, cursor: Cursor, judges: Judges) -> Iterator[str]:
    """A prefix that was accepted has a completion, which is valid."""
    tail = cursor.shortest_completion()
    ahead = cursor.copy()
    try:
        ahead.accept_bytes(tail)
        complete = ahead.is_complete()
    except RejectedError:
        complete = False
    if not complete or judges.word(json.loads(read + tail)) is False:
        yield f"the completion {tail!r} of {read!r} is {'invalid' if complete else 'not accepted'}"


def _walks(random: Random, grammar: Grammar, num: int) -> Iterator[bytes]:
    """Random texts of a grammar: so many bytes at random, then the shortest completion."""
    for _ in range(num):
        cursor, found = grammar.start(), bytearray()
        for _ in range(random.choice((0, 5, 20, 60))):
            allowed = [byte for byte in b'abc{}[]",:01.5-tfn\\1' if _accepts(cursor, byte)]
            if not allowed:
                allowed = sorted(cursor.next_bytes())
            if not allowed:
                break
            byte = random.choice(allowed)
            cursor.accept_bytes(bytes([byte]))
            found.append(byte)
        tail = cursor.shortest_completion()
        cursor.accept_bytes(tail)
        assert cursor.is_complete()
        yield bytes(found) + tail


def _accepts(cursor: Cursor, byte: int) -> bool:
    try:
        cursor.copy().accept_bytes(bytes([byte]))
    except RejectedError:
        return False
    return True
