"""Rows: a walk by the arrays alone allows what masks allow."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from espalier.grammar import AnyConstraint, Cursor, Json, MissError, RejectedError, Rows, compile_grammar
from espalier.grammar.rows import DEAD, HOST, MISSING, Stack
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.small import END, SMALL, TOKENS, masked
from tests.grammar.test_mask import COMPOSED
from tests.grammar.walk import OPTIONS

CONSTRAINTS: dict[str, AnyConstraint] = {
    **{name: OPTIONS[place % len(OPTIONS)].constraint(schema) for place, (name, schema) in enumerate(SCHEMAS.items())},
    **COMPOSED,
}


def reads(rows: Rows, place: tuple[int, Stack], text: bytes) -> bool:
    """Whether the arrays allow a text; they are made where a walk misses them. Raises MissError for the host's part."""
    state, stack = place
    for index, byte in enumerate(text):
        while True:
            try:
                after = rows.advance(state, stack, byte, is_inside=index > 0)
                break
            except MissError as miss:
                if miss.is_host:
                    raise
                if miss.state is not None:
                    rows.make(miss.state)
                elif miss.back is not None and miss.outcome is not None:
                    rows.make_resume(miss.back, miss.outcome)
        if after is None:
            return False
        state, stack = after
    return True


def walked(rows: Rows, cursor: Cursor) -> list[int]:
    """The tokens that the arrays allow; those that only the host can decide are asked of the cursor."""
    found = []
    for token, text in enumerate(TOKENS):
        if not text:
            continue
        try:
            if any(reads(rows, place, text) for place in cursor.places(rows)):
                found.append(token)
        except MissError:
            try:
                cursor.copy().accept_bytes(text)
                found.append(token)
            except RejectedError:
                pass
    return found


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_arrays_allow_what_masks_allow(name: str) -> None:
    rng = Random(name)
    grammar, rows = compile_grammar(CONSTRAINTS[name], SMALL, [END]), Rows()
    cursor = grammar.start()
    for _ in range(25):
        expected = [token for token in masked(cursor) if TOKENS[token]]
        assert walked(rows, cursor) == expected
        allowed = masked(cursor)
        token = rng.choice(allowed)
        if token == END:
            break
        cursor.accept(token)


def test_a_walk_takes_one_look_into_the_arrays_for_each_byte() -> None:
    rows = Rows()
    cursor = compile_grammar(
        Json({"properties": {"a": {"type": "integer"}}, "additionalProperties": False}), SMALL
    ).start()
    cursor.accept_bytes(b'{"a":1')
    (place,) = cursor.places(rows)
    assert reads(rows, place, b"23}")
    assert rows.rows.dtype == rows.pushes.dtype == rows.resumes.dtype == np.int32
    after = rows.advance(*place, ord("}"))
    assert after == (0, ()), "the answer is complete"
    assert rows.advance(0, (), ord("x")) is None


def test_grammars_share_the_rows_of_free_strings() -> None:
    rows = Rows()
    numbers = []
    for name in ("a", "b"):
        schema = {"properties": {name: {"type": "string"}}, "required": [name], "additionalProperties": False}
        cursor = compile_grammar(Json(schema), SMALL).start()
        cursor.accept_bytes(b'{"%s":"x' % name.encode())
        ((state, _),) = cursor.places(rows)
        numbers.append(state)
    assert numbers[0] == numbers[1]


def test_what_depends_on_the_text_that_was_read_is_the_hosts() -> None:
    rows = Rows()
    cursor = compile_grammar(Json({"type": "object"}), SMALL).start()
    cursor.accept_bytes(b'{"a')
    (place,) = cursor.places(rows)
    with pytest.raises(MissError) as told:
        reads(rows, place, b'":')
    assert told.value.is_host and HOST in rows.resumes


def test_arrays_grow_and_keep_their_entries() -> None:
    rows = Rows()
    cursor = compile_grammar(Json({"enum": ["x" * 100]}), SMALL).start()
    (place,) = cursor.places(rows)
    assert reads(rows, place, b'"' + b"x" * 100 + b'"')
    assert rows.num_states > 100 and len(rows.rows) >= rows.num_states
    before = rows.rows[: rows.num_states].copy()
    rows.make_resume(place[1][-1], 5)
    assert (rows.rows[: len(before)] == before).all()
    assert (rows.rows[rows.num_states :] == DEAD).all() and MISSING in rows.resumes
