"""Cursors: what is forced, completed, copied and taken back, against brute force over bytes."""

from __future__ import annotations

from random import Random

import pytest

from espalier.grammar import (
    AnyConstraint,
    AnyJson,
    Choice,
    Cursor,
    Json,
    Limits,
    Literal,
    Regex,
    RejectedError,
    Sequence,
    Special,
    Text,
    Vocabulary,
    compile_grammar,
)
from espalier.grammar.spot import MOST_THEN
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.small import CALL, END, OTHER_END, SMALL, TOKENS, masked, walk
from tests.grammar.test_mask import COMPOSED
from tests.grammar.walk import OPTIONS

CONSTRAINTS: dict[str, AnyConstraint] = {
    **{
        name: OPTIONS[number % len(OPTIONS)].constraint(schema) for number, (name, schema) in enumerate(SCHEMAS.items())
    },
    **COMPOSED,
}
Seen = tuple[list[int], bytes, bool, bytes]


def seen(cursor: Cursor) -> Seen:
    """All that a cursor says."""
    return masked(cursor), cursor.forced(), cursor.is_complete(), cursor.shortest_completion()


def one_byte(cursor: Cursor) -> dict[int, Cursor]:
    """The cursors behind each byte that is allowed."""
    found = dict[int, Cursor]()
    for byte in range(256):
        after = cursor.copy()
        try:
            after.accept_bytes(bytes([byte]))
        except RejectedError:
            continue
        found[byte] = after
    return found


def forced(cursor: Cursor) -> bytes:
    """The bytes that have to come next, by trying all."""
    found = bytearray()
    while not cursor.is_complete() and not [token for token in masked(cursor) if TOKENS[token] is None]:
        options = one_byte(cursor)
        if len(options) != 1:
            break
        [(byte, cursor)] = options.items()
        found.append(byte)
    return bytes(found)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_taken_back_never_was(name: str) -> None:
    random = Random(name)
    grammar = compile_grammar(CONSTRAINTS[name], SMALL, [END])
    tokens = walk(grammar, random, 10)
    cursor = grammar.start()
    history = [seen(cursor)]
    for token in tokens:
        cursor.accept(token)
        history.append(seen(cursor))
    for _ in range(4):
        at = len(history) - 1
        back = random.randint(0, at)
        cursor.rollback(back)
        assert seen(cursor) == history[at - back]
        for token in tokens[at - back : at - back // 2]:
            cursor.accept(token)
        del history[at - back // 2 + 1 :]
        assert seen(cursor) == history[-1]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_copies_go_their_own_ways(name: str) -> None:
    random = Random(name)
    grammar = compile_grammar(CONSTRAINTS[name], SMALL, [END])
    tokens = walk(grammar, random, 6)
    cursor = grammar.start()
    for token in tokens[:-1]:
        cursor.accept(token)
    copy, before = cursor.copy(), seen(cursor)
    cursor.accept(tokens[-1])
    after = seen(cursor)
    assert seen(copy) == before
    copy.rollback(len(tokens) - 1)
    assert seen(copy) == seen(grammar.start())
    assert seen(cursor) == after
    cursor.rollback(1)
    assert seen(cursor) == before


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_forced_bytes_are_all_that_have_no_alternative(name: str) -> None:
    random = Random(name)
    grammar = compile_grammar(CONSTRAINTS[name], SMALL, [END])
    for _ in range(2):
        cursor = grammar.start()
        for token in walk(grammar, random, 5):
            assert cursor.forced() == forced(cursor)
            cursor.accept(token)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_the_shortest_completion_completes_and_an_end_token_is_allowed_there(name: str) -> None:
    random = Random(name)
    grammar = compile_grammar(CONSTRAINTS[name], SMALL, [END, OTHER_END])
    for _ in range(2):
        cursor = grammar.start()
        for token in walk(grammar, random, 6):
            assert cursor.is_complete() == (END in masked(cursor))
            if token not in (END, OTHER_END):
                cursor.accept(token)
        for byte in cursor.shortest_completion():
            assert byte in set(cursor.next_bytes())
            cursor.accept_bytes(bytes([byte]))
        if not any(TOKENS[token] is None for token in masked(cursor)):  # else special tokens have to come
            assert cursor.is_complete()


def test_a_refused_token_leaves_the_cursor_where_it_was() -> None:
    cursor = compile_grammar(Json(SCHEMAS["tools"]), SMALL, [END]).start()
    cursor.accept_bytes(b'{"name":"ab')
    before = seen(cursor)
    for token in (END, CALL, 0, 259, -1, len(TOKENS), 10**12, TOKENS.index(b"#")):
        with pytest.raises(RejectedError):
            cursor.accept(token)
    with pytest.raises(RejectedError, match='after b\'c","arguments'):
        cursor.accept_bytes(b'c","arguments":{"a')
    assert seen(cursor) == before
    cursor.rollback(1)
    with pytest.raises(ValueError, match="rollback of 1 tokens, but 0"):
        cursor.rollback(1)
    with pytest.raises(ValueError, match="rollback of -1"):
        cursor.rollback(-1)


def test_nothing_follows_an_end_token_but_it_can_be_taken_back() -> None:
    cursor = compile_grammar(Literal(b"a"), SMALL, [END]).start()
    cursor.accept_bytes(b"a")
    cursor.accept(END)
    assert masked(cursor) == [] and not cursor.is_complete() and cursor.shortest_completion() == b""
    with pytest.raises(RejectedError):
        cursor.accept(END)
    cursor.rollback(1)
    assert masked(cursor) == [END]


def test_an_end_token_does_not_end_what_is_not_complete() -> None:
    cursor = compile_grammar(Sequence((Special(CALL), Json({"type": "number"}))), SMALL, [CALL, END]).start()
    assert masked(cursor) == [CALL]
    cursor.accept(CALL)
    assert not {CALL, END} & set(masked(cursor))
    cursor.accept_bytes(b"1")
    assert {CALL, END} <= set(masked(cursor))
    cursor.accept_bytes(b".")
    assert not {CALL, END} & set(masked(cursor))


def test_members_come_in_the_order_of_the_schema_or_in_any() -> None:
    schema = {
        "properties": {"b": {"const": "x"}, "a": {"const": "y"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    schema["type"] = "object"
    assert compile_grammar(Json(schema), SMALL).start().forced() == b'{"b":"x","a":"y"}'
    cursor = compile_grammar(Json(schema, property_order="any"), SMALL).start()
    assert cursor.forced() == b'{"'
    cursor.accept_bytes(b'{"a')
    assert cursor.forced() == b'":"y","b":"x"}'


def test_white_space_is_none_or_natural_and_bounded() -> None:
    tight = compile_grammar(Json(True), SMALL).start()
    with pytest.raises(RejectedError):
        tight.copy().accept_bytes(b"[ 1]")
    wide = compile_grammar(Json(True, white_space="natural"), SMALL).start()
    wide.copy().accept_bytes(b'{\n  "a": [\n    1,\n    2\n  ],\n\t"b": {"c": 1}\n}')
    with pytest.raises(RejectedError):
        wide.accept_bytes(b"[\n" + 100 * b" ")
    with pytest.raises(RejectedError):
        wide.accept_bytes(b"[\n\n")


def test_escapes_are_only_those_needed_or_any_but_no_lone_surrogates() -> None:
    strict, free = (compile_grammar(Json({"type": "string"}, escapes=e), SMALL).start() for e in ("needed", "any"))
    for text in (b'"\\u0061"', b'"\\/"', b'"\\ud83d\\ude00"'):
        with pytest.raises(RejectedError):
            strict.copy().accept_bytes(text)
        free.copy().accept_bytes(text)
    for text in (b'"\\"\\\\\\n\\u0001"', '"é😀/"'.encode()):
        strict.copy().accept_bytes(text)
        free.copy().accept_bytes(text)
    for text in (b'"\\ud83d"', b'"\\ud83da', b'"\\udc00', b'"\\ud83d\\u0061', b'"\\x', b'"\n'):
        with pytest.raises(RejectedError):
            free.copy().accept_bytes(text)


def test_text_ends_at_its_marker_and_not_at_a_spelled_special_token() -> None:
    cursor = compile_grammar(Sequence((Text(until=CALL), Literal(b"x"))), SMALL, [END]).start()
    cursor.accept_bytes(b"[CALL] and </s>")
    cursor.accept(CALL)
    assert cursor.forced() == b"x"
    marked = compile_grammar(Sequence((Text(until=b"aab"), Literal(b"x"))), SMALL, [END]).start()
    marked.accept_bytes(b"aaaaab")
    assert marked.forced() == b"x"


def test_forced_bytes_stop_before_a_special_token_and_where_the_answer_may_end() -> None:
    constraint = Sequence((Literal(b"ab"), Special(CALL), Choice((b"xy", b"xyz")), AnyJson()))
    cursor = compile_grammar(constraint, SMALL, [END]).start()
    assert cursor.forced() == b"ab"
    cursor.accept_bytes(b"ab")
    assert cursor.forced() == b""
    cursor.accept(CALL)
    assert cursor.forced() == b"xy"
    maybe = compile_grammar(Regex("ab(cd)?"), SMALL, [END]).start()
    assert maybe.forced() == b"ab"


BYTES = Vocabulary([*(bytes([byte]) for byte in range(256)), None])  # and an end token
SPOTTED = {
    "object": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "integer"}}},
        "required": ["name", "sizes"],
        "additionalProperties": False,
    },
    "patterns": {"patternProperties": {"^x": {"const": 1}}, "additionalProperties": {"enum": ["a", "ab"]}},
    "unique": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
}


@pytest.mark.parametrize("name", SPOTTED)
@pytest.mark.parametrize("spot_bytes", [0, 20_000, 4_000_000])
def test_what_is_remembered_is_what_a_cursor_without_memory_finds(name: str, spot_bytes: int) -> None:
    source, schema = Random(name), Json(SPOTTED[name])
    remembering = compile_grammar(schema, BYTES, [256], Limits(spot_bytes=spot_bytes))
    for _ in range(6):
        cursor, fresh = remembering.start(), compile_grammar(schema, BYTES, [256], Limits(spot_bytes=0)).start()
        for _ in range(40):
            assert cursor.ahead() == fresh.ahead()
            assert cursor.completion_cost() == fresh.completion_cost() == len(fresh.completion_tokens())
            assert cursor.closing_cost() == fresh.closing_cost() == len(fresh.closing_tokens())
            for budget in (cursor.closing_cost() - 1, cursor.closing_cost()):
                assert cursor.can_close_within(budget) == (budget >= cursor.closing_cost())
            token = source.choice(masked(cursor, BYTES))
            assert cursor.accept(token) == fresh.accept(token)
            assert cursor.allowed().mask.tolist() == fresh.allowed().mask.tolist()
            if token == 256:
                break


def test_what_lies_ahead_is_told_with_what_may_follow() -> None:
    cursor = compile_grammar(Json(SPOTTED["object"]), BYTES, [256]).start()
    ahead = cursor.ahead()
    assert (ahead.forced, ahead.may_end, ahead.has_special) == (b'{"name":"', False, False)
    assert len(ahead.then) == MOST_THEN
    cursor.accept_bytes(b'{"name":"","sizes":[1]')
    assert cursor.ahead().forced == b"}"
    assert (cursor.ahead().then, cursor.ahead().may_end) == (frozenset(), True)
    cursor.accept_bytes(b"}")
    assert cursor.ahead().is_over


def test_a_rollback_behind_a_remembered_token_stands_where_it_stood() -> None:
    grammar = compile_grammar(Json(SPOTTED["object"]), BYTES, [256])
    for _ in range(2):
        cursor = grammar.start()
        seen = [cursor.allowed().mask.tolist()]
        for byte in b'{"name":"x"':
            cursor.ahead()
            cursor.accept(byte)
            seen.append(cursor.allowed().mask.tolist())
        for mask in reversed(seen[:-1]):
            cursor.rollback(1)
            assert cursor.allowed().mask.tolist() == mask


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_closing_tokens_end_the_answer_and_tell_whether_it_ends_by_itself(name: str) -> None:
    random, cursor = Random(name), compile_grammar(CONSTRAINTS[name], SMALL, [END]).start()
    for _ in range(4):
        closing, after = cursor.closing_tokens(), cursor.copy()
        has_end = bool(closing) and closing[-1] == END
        for token in closing[: len(closing) - has_end]:
            after.accept(token)
        assert after.is_complete()
        assert has_end == (masked(after) != [END])
        token = random.choice(masked(cursor))
        if token == END:
            break
        cursor.accept(token)


@pytest.mark.parametrize(
    "schema",
    [
        {"minProperties": 600},
        {"minProperties": 300, "properties": {"b": {"type": "null"}, "a": {"type": "integer"}}, "required": ["a"]},
        {
            "minProperties": 300,
            "additionalProperties": False,
            "patternProperties": {"^[a-z]{2}[0-9]$": {"type": "array"}},
        },
    ],
)
def test_an_object_that_needs_hundreds_of_members_has_a_short_completion(schema: dict[str, object]) -> None:
    cursor = compile_grammar(Json({"type": "object", **schema}), SMALL, [END]).start()
    for text in (b"", b"{", b'"'):
        cursor.accept_bytes(text)
        after, completion = cursor.copy(), cursor.shortest_completion()
        after.accept_bytes(completion)
        assert after.is_complete()
        assert len(completion) < 15 * int(str(schema["minProperties"]))
        assert cursor.closing_cost() == len(cursor.closing_tokens())
