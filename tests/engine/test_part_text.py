"""Parts in whole characters, wherever their bytes are cut; stop strings where they are looked for."""

from __future__ import annotations

import pytest

from espalier.engine.messages import PartBegun, PartEnded, PartEvent, PartText, SamplingParams
from espalier.engine.part_text import PartTexts
from espalier.grammar import Begun, Ended, Event, Piece

ANSWER: list[Event] = [
    Begun("reasoning"),
    Piece("reasoning", "sö, 日本".encode()),
    Ended("reasoning"),
    Piece(None, b"</think>"),
    Begun("text"),
    Piece("text", "né \N{GRINNING FACE}.".encode()),
    Ended("text"),
]


def merged(events: tuple[PartEvent, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for event in events:
        if isinstance(event, PartText) and found and found[-1][0] == "text":
            found[-1] = ("text", event.part, found[-1][2] + event.text)
        elif isinstance(event, PartText):
            found.append(("text", event.part, event.text))
        else:
            found.append(("begun" if isinstance(event, PartBegun) else "ended", event.part))
    return found


def cut(events: list[Event], size: int) -> list[Event]:
    """Pieces of at most so many bytes."""
    return [
        one
        for event in events
        for one in (
            [Piece(event.part, event.text[at : at + size]) for at in range(0, len(event.text), size)]
            if isinstance(event, Piece)
            else [event]
        )
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_characters_come_whole(size: int) -> None:
    parts = PartTexts(SamplingParams())
    told: tuple[PartEvent, ...] = ()
    for at, event in enumerate(cut(ANSWER, size), 1):
        assert parts.feed([event], at, by_budget=False) is None
        new = parts.take()
        assert not any("\ufffd" in one.text for one in new if isinstance(one, PartText))
        told += new
    assert merged(told) == [
        ("begun", "reasoning"), ("text", "reasoning", "sö, 日本"), ("ended", "reasoning"),
        ("begun", "text"), ("text", "text", "né \N{GRINNING FACE}."), ("ended", "text"),
    ]  # fmt: skip


def test_half_a_character_at_the_end_of_a_part_is_replaced() -> None:
    parts = PartTexts(SamplingParams())
    parts.feed([Begun("text"), Piece("text", b"a\xe6\x97"), Ended("text")], 1, by_budget=False)
    assert parts.take() == (
        PartBegun("text"), PartText("text", "a"), PartText("text", "\ufffd"), PartEnded("text", 1),
    )  # fmt: skip


def test_what_is_open_at_the_end_is_told() -> None:
    parts = PartTexts(SamplingParams(stop=("xyz",)))
    parts.feed([Begun("text"), Piece("text", b"ax")], 1, by_budget=False)
    assert parts.take() == (PartBegun("text"), PartText("text", "a"))
    assert parts.finish([Piece("text", b"y\xc3")], 2, by_budget=False) is None
    assert "".join(one.text for one in parts.take() if isinstance(one, PartText)) == "xy\ufffd"


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(("include", "text"), [(False, "né "), (True, "né \N{GRINNING FACE}.")])
def test_a_stop_string_ends_the_part_where_it_stands(size: int, include: bool, text: str) -> None:
    params = SamplingParams(stop=("日本", "\N{GRINNING FACE}."), stop_in=("text",), include_stop_text=include)
    parts, stop = PartTexts(params), None
    for event in cut(ANSWER, size):
        stop = parts.feed([event], 1, by_budget=False)
        if stop is not None:
            break
    assert stop == "\N{GRINNING FACE}."
    assert merged(parts.take())[-1] == ("text", "text", text)


def test_without_names_every_part_is_searched() -> None:
    assert PartTexts(SamplingParams(stop=("日",))).feed(ANSWER, 1, by_budget=False) == "日"


def test_a_stop_string_within_the_first_tokens_is_none() -> None:
    params = SamplingParams(stop=("日",), min_tokens=5)
    assert PartTexts(params).feed(ANSWER, 5, by_budget=False) is None
    assert PartTexts(params).feed(ANSWER, 6, by_budget=False) == "日"


def test_the_end_of_a_part_says_how_many_tokens_there_are_and_who_ended_it() -> None:
    parts = PartTexts(SamplingParams())
    parts.feed([Begun("name"), Ended("name")], 7, by_budget=True)
    assert parts.take() == (PartBegun("name"), PartEnded("name", 7, by_budget=True))
