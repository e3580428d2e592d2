"""Parse events: what they say does not depend on tokens, and nothing is told that may turn out otherwise."""

from __future__ import annotations

from random import Random

import pytest

from espalier.grammar import (
    AnyConstraint,
    AnyJson,
    Begun,
    Choice,
    Cursor,
    Ended,
    Event,
    Json,
    Literal,
    OneOf,
    Piece,
    Regex,
    Repeat,
    Sequence,
    Special,
    Text,
    compile_grammar,
)

CALL, END = 256, 257
TOKENS = [*(bytes([byte]) for byte in range(256)), None, None, b'{"', b'":', b"</th", b"ink>", b"}\n", b"al", b"alpha"]
MARKED = Sequence(
    (
        Text(until=b"</think>", part="reasoning"),
        OneOf(
            (
                Sequence(
                    (
                        Special(CALL, part="call"),
                        Choice((b"alpha", b"al", b"beta"), part="name"),
                        Literal(b":"),
                        Json({"type": "object", "additionalProperties": {"type": "integer"}}, part="arguments"),
                    )
                ),
                Text(part="text"),
            )
        ),
    )
)


def merged(events: list[Event]) -> list[Event]:
    """With pieces of one part in a row joined."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Piece) and isinstance(last, Piece) and last.part == event.part:
            found[-1] = Piece(event.part, last.text + event.text)
        else:
            found.append(event)
    return found


def read(constraint: AnyConstraint, *texts: bytes | int) -> list[Event]:
    """The events of an answer that ends."""
    cursor = compile_grammar(constraint, TOKENS, [END]).start()
    return told(cursor, *texts, END)


def told(cursor: Cursor, *texts: bytes | int) -> list[Event]:
    """The events of bytes and tokens."""
    return [
        event
        for text in texts
        for event in (cursor.accept(text) if isinstance(text, int) else cursor.accept_bytes(text))
    ]


def test_a_call_behind_reasoning() -> None:
    assert merged(read(MARKED, b"so </think", b">", CALL, b'alpha:{"a":12', b"}")) == [
        Begun("reasoning"),
        Piece("reasoning", b"so "),
        Ended("reasoning"),
        Begun("call"),
        Ended("call"),
        Begun("name"),
        Piece("name", b"alpha"),
        Ended("name"),
        Piece(None, b":"),
        Begun("arguments"),
        Piece("arguments", b'{"a":12}'),
        Ended("arguments"),
    ]


def test_a_text_that_only_begins_like_its_marker_is_told() -> None:
    cursor = compile_grammar(MARKED, TOKENS, [END]).start()
    assert told(cursor, b"a </thi") == [Begun("reasoning"), Piece("reasoning", b"a ")]
    assert cursor.unsettled() == (Piece("reasoning", b"</thi"),)
    assert told(cursor, b"s </") == [Piece("reasoning", b"</this ")]
    assert told(cursor, b"think>") == [Ended("reasoning")]


def test_an_empty_text_begins_and_ends() -> None:
    assert read(MARKED, b"</think>") == [Begun("reasoning"), Ended("reasoning")]


def test_two_readings_are_not_told_apart_too_soon() -> None:
    either = OneOf((Sequence((Literal(b"ab", part="x"), Literal(b"c", part="y"))), Literal(b"abd", part="z")))
    cursor = compile_grammar(either, TOKENS, [END]).start()
    assert told(cursor, b"ab") == []
    assert told(cursor, b"c") == [Begun("x"), Piece("x", b"ab"), Ended("x"), Begun("y"), Piece("y", b"c"), Ended("y")]
    assert read(either, b"abd") == [Begun("z"), Piece("z", b"abd"), Ended("z")]


def test_of_readings_that_go_on_alike_the_first_is_told() -> None:
    alike = OneOf((Literal(b"ab", part="first"), Regex("ab", part="second")))
    assert read(alike, b"ab") == [Begun("first"), Piece("first", b"ab"), Ended("first")]


def test_parts_without_names_are_pieces() -> None:
    assert read(AnyJson(), b'{"', b"a", b'":1}') == [Piece(None, b'{"'), Piece(None, b"a"), Piece(None, b'":1}')]


def test_each_repetition_begins_and_ends() -> None:
    assert merged(read(Repeat(Regex("[0-9];", part="digit")), b"1;2;")) == [
        *(Begun("digit"), Piece("digit", b"1;"), Ended("digit")),
        *(Begun("digit"), Piece("digit", b"2;"), Ended("digit")),
    ]


def test_what_was_taken_back_is_told_again_as_it_comes() -> None:
    cursor = compile_grammar(MARKED, TOKENS, [END]).start()
    told(cursor, b"a</th", b"ink>")
    cursor.rollback(1)
    assert told(cursor, b"is") == [Piece("reasoning", b"</this")]
    other = cursor.copy()
    assert told(other, b"</think>", b"hi") == [Ended("reasoning"), Begun("text"), Piece("text", b"hi")]
    assert told(cursor, b"!") == [Piece("reasoning", b"!")]


@pytest.mark.parametrize("seed", range(40))
def test_events_do_not_depend_on_tokens(seed: int) -> None:
    rng = Random(seed)
    grammar = compile_grammar(MARKED, TOKENS, [END])
    whole, cursor = list[int](), grammar.start()
    for _ in range(60):
        allowed = cursor.allowed().mask
        tokens = [token for token in range(len(TOKENS)) if allowed[token >> 5] >> (token & 31) & 1]
        likely = [t for t in tokens if t in (CALL, END) or len(TOKENS[t] or b"") > 1 or TOKENS[t] in (b"a", b":", b"}")]
        token = rng.choice(likely or tokens)
        whole.append(token)
        cursor.accept(token)
        if token == END:
            break
    else:
        whole += [*cursor.completion_tokens(), END]
    events = told(grammar.start(), *whole)
    singly = [t for token in whole for t in (TOKENS[token] or b"")] if CALL not in whole else []
    text = b"".join(event.text for event in events if isinstance(event, Piece))
    spelled = b"".join(TOKENS[token] or b"" for token in whole)
    assert text == spelled.replace(b"</think>", b"", 1)
    if singly:
        assert merged(events) == merged(told(grammar.start(), *singly, END))
    open_parts = list[str]()
    for event in events:
        if isinstance(event, Begun):
            assert not open_parts
            open_parts.append(event.part)
        elif isinstance(event, Ended):
            assert open_parts.pop() == event.part
        elif event.part is not None:
            assert open_parts == [event.part]
    assert not open_parts


def test_completion_tokens_bring_the_answer_to_its_end() -> None:
    cursor = compile_grammar(MARKED, TOKENS, [END]).start()
    told(cursor, b"x</think>", CALL)
    tokens = cursor.completion_tokens()
    assert cursor.completion_cost() == len(tokens)
    assert [TOKENS[token] for token in tokens] == [b"al", b":", b"{", b"}"]
    told(cursor, *tokens)
    assert cursor.is_complete()
    special = compile_grammar(Sequence((Literal(b"a"), Special(CALL), Literal(b"b"))), TOKENS, [END]).start()
    assert special.completion_tokens() == [ord("a"), CALL, ord("b")]
    assert special.shortest_completion() == b"ab"
