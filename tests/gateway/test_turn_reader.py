"""From parts to events: what each part becomes, and which white space is dropped."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.engine.messages import Output, PartBegun, PartEnded, PartEvent, PartText, TokenLogprob, Usage
from espalier.gateway.answer_event import (
    AnswerEvent,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    ReasoningDelta,
    TextDelta,
)
from espalier.gateway.python_literal import JsonWords
from espalier.gateway.turn_reader import TurnReader


def part(name: str, *texts: str, at: int = 1, by_budget: bool = False) -> list[PartEvent]:
    return [PartBegun(name), *(PartText(name, text) for text in texts), PartEnded(name, at, by_budget)]


def read(*groups: list[PartEvent], **last: Any) -> list[AnswerEvent]:
    """Each group is an output; the last one ends the answer."""
    ids = iter("abc")
    reader = TurnReader(lambda: next(ids))
    outputs = [Output("r", parts=tuple(group), usage=Usage(1, 0, at)) for at, group in enumerate(groups, 1)]
    end = Output("r", usage=Usage(1, 0, len(groups) + 1), **{"finish_reason": "stop", **last})
    return [event for output in [*outputs, end] for event in reader.read(output)]


def test_a_call_begins_with_its_whole_name_and_ends_with_its_arguments() -> None:
    events = read(part("name", "get", "_it"), part("arguments", "{", '"a": 1}'))
    assert events[:-1] == [
        CallBegun(0, "a", "get_it"),
        ArgumentsDelta(0, "{"),
        ArgumentsDelta(0, '"a": 1}'),
        CallEnded(0, "a", "get_it", '{"a": 1}'),
    ]
    assert isinstance(events[-1], Finished) and events[-1].reason == "tool_calls"


def test_a_call_that_the_budget_closed_does_not_end() -> None:
    events = read(
        part("name", "f"), part("arguments", "{}", by_budget=True), finish_reason="length", closed_by_budget=True
    )
    assert events[:-1] == [CallBegun(0, "a", "f"), ArgumentsDelta(0, "{}")]
    assert isinstance(events[-1], Finished) and events[-1].reason == "length" and events[-1].closed_by_budget


def test_keywords_become_json() -> None:
    call = [*part("name", "f"), *part("key", "ci", "ty"), *part("value", '"True', ' \\" None"')]
    call += [*part("key", "x"), *part("value", "[Tr", "ue, None, 1e5]"), *part("close", ")")]
    call += [*part("name", "g"), *part("close", ")")]
    events = read(call)
    ended = [event for event in events if isinstance(event, CallEnded)]
    assert [event.arguments for event in ended] == ['{"city": "True \\" None", "x": [true, null, 1e5]}', "{}"]
    assert [event.index for event in ended] == [0, 1]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_python_s_words_are_told_from_strings(size: int) -> None:
    text = '{"None": True, "a": ["\\"True", False, None, -1E+5], "\\\\": None}'
    words = JsonWords()
    told = "".join(words.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert told == '{"None": true, "a": ["\\"True", false, null, -1E+5], "\\\\": null}'


def test_white_space_before_a_call_is_dropped_and_at_the_end_kept() -> None:
    before: list[PartEvent] = [
        PartBegun("text"),
        PartText("text", "Well. "),
        PartText("text", "\n\n"),
        PartEnded("text", 3),
    ]
    assert read(before, part("name", "f"), part("arguments", "{}"))[0] == TextDelta("Well.")
    assert [event for event in read(before) if isinstance(event, TextDelta)] == [TextDelta("Well."), TextDelta(" \n\n")]
    assert read(part("text", "\n"), part("name", "f"))[0] == CallBegun(0, "a", "f")


def test_reasoning_has_no_outer_line_breaks_nor_has_the_text_behind_it() -> None:
    events = read(part("reasoning", "\nHm.", " So?", "\n", at=4), part("text", "\n\n", "\nYes.\n\nNo."))
    assert events[:-1] == [ReasoningDelta("Hm."), ReasoningDelta(" So?"), TextDelta("Yes.\n\nNo.")]
    assert isinstance(events[-1], Finished) and events[-1].usage.reasoning_tokens == 4


def test_a_text_without_reasoning_keeps_its_first_line_breaks() -> None:
    assert read(part("text", "\n\nYes."))[0] == TextDelta("\n\nYes.")


def test_an_answer_is_told_as_it_is() -> None:
    assert read(part("answer", "{ ", " }  "))[:-1] == [TextDelta("{ "), TextDelta(" }  ")]


def test_tokens_of_reasoning_count_along() -> None:
    reader = TurnReader(lambda: "a")
    thinking = Output("r", parts=(PartBegun("reasoning"), PartText("reasoning", "x")), usage=Usage(1, 0, 3))
    reader.read(thinking)
    assert reader.usage(thinking).reasoning_tokens == 3
    done = Output("r", parts=(PartEnded("reasoning", 5), PartBegun("text")), usage=Usage(1, 0, 6))
    reader.read(done)
    assert reader.usage(done).reasoning_tokens == 5


def test_reasoning_that_was_cut_is_all_there_is() -> None:
    events = read([PartBegun("reasoning"), PartText("reasoning", "x")], finish_reason="length")
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage.reasoning_tokens) == ("length", 2)


def test_log_probabilities_are_those_of_text() -> None:
    reader = TurnReader(lambda: "a")

    def output(token: int, *parts: PartEvent) -> Output:
        return Output("r", parts=parts, logprobs=[TokenLogprob(token, -1.0)])

    told = [
        reader.read(output(1, PartBegun("text"), PartText("text", "a"))),
        reader.read(output(2)),
        reader.read(output(3, PartText("text", "b"), PartEnded("text", 3))),
        reader.read(output(4)),
        reader.read(output(5, *part("name", "f"))),
    ]
    texts = [event for events in told for event in events if isinstance(event, TextDelta)]
    assert [(event.text, [entry.token_id for entry in event.logprobs]) for event in texts] == [
        ("a", [1]),
        ("", [2]),
        ("b", [3]),
    ]


def test_without_parts_all_is_text() -> None:
    reader = TurnReader(lambda: "a", has_parts=False)
    assert reader.read(Output("r", "<tool_call>")) == [TextDelta("<tool_call>")]
    (end,) = reader.read(Output("r", finish_reason="stop", stop_reason=7, usage=Usage(1, 0, 2)))
    assert end == Finished("stop", Usage(1, 0, 2), 7)
