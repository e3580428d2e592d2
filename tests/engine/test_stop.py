"""Stop strings: found wherever the pieces are cut, nothing told that might still be one."""

from __future__ import annotations

import random

import pytest

from espalier.engine.stop import StopMatcher


def feed_all(stops: tuple[str, ...], pieces: list[str], *, include: bool = False) -> tuple[str, str | None]:
    matcher = StopMatcher(stops, include=include)
    told = ""
    for piece in pieces:
        cut = matcher.feed(piece)
        told += cut.text
        if cut.stop is not None:
            return told, cut.stop
    return told + matcher.flush(), None


def expected(stops: tuple[str, ...], text: str) -> tuple[str, str | None]:
    """The plain way: the stop that ends first, of those the longest."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end - len(stop)], stop
    return text, None


@pytest.mark.parametrize("seed", range(40))
def test_every_chunking_agrees_with_a_plain_search(seed: int) -> None:
    rng = random.Random(seed)
    stops = tuple({"".join(rng.choices("ab", k=rng.randint(1, 5))) for _ in range(rng.randint(1, 3))})
    text = "".join(rng.choices("abc", k=30))
    pieces, rest = [], text
    while rest:
        size = rng.randint(1, 4)
        pieces.append(rest[:size])
        rest = rest[size:]
    assert feed_all(stops, pieces) == expected(stops, text)


def test_text_that_may_begin_a_stop_string_is_held_back() -> None:
    matcher = StopMatcher(("<end>",))
    assert matcher.feed("a <e").text == "a "
    assert matcher.feed("x").text == "<ex"


def test_the_stop_string_is_told_when_included() -> None:
    assert feed_all(("!",), ["hi! there"], include=True) == ("hi!", "!")


def test_without_stop_strings_nothing_is_held() -> None:
    assert StopMatcher(()).feed("abc").text == "abc"
