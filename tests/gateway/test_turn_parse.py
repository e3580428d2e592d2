"""What is streamed is what was written: turns of random weights in every call format, against a parser of whole texts.

`python -m pytest -m slow tests/gateway/test_turn_parse.py` holds 2,080 turns to it; otherwise it is a few.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import jsonschema  # type: ignore[import-untyped]
import pytest

from espalier.engine import Output
from espalier.gateway.answer_event import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, Finished, TextDelta
from espalier.gateway.answer_text import Gathered
from espalier.gateway.turn_constraint import parameters
from tests.gateway.turn_case import ANSWER, CHOICES, LAYOUTS, Model, cuts, gathered, parse, read


def assert_in_order(events: list[AnswerEvent]) -> None:
    """Texts before calls, one call after the other, the end once; nothing empty."""
    *before, last = events
    assert isinstance(last, Finished) and not any(isinstance(event, Finished) for event in before)
    calls = [event for event in before if isinstance(event, CallBegun | ArgumentsDelta | CallEnded)]
    assert before[len(before) - len(calls) :] == calls
    assert all(event.text for event in before if isinstance(event, TextDelta | ArgumentsDelta))
    numbers = [event.index for event in calls]
    assert numbers == sorted(numbers) and set(numbers) == set(range(len(set(numbers))))
    for index in set(numbers):
        begun, *told = [event for event in calls if event.index == index]
        assert isinstance(begun, CallBegun)
        ended = [event for event in told if isinstance(event, CallEnded)]
        assert ended in ([], told[-1:])
        for event in ended:
            assert (event.call_id, event.name) == (begun.call_id, begun.name)
            assert event.arguments == "".join(one.text for one in told if isinstance(one, ArgumentsDelta))


def assert_valid(model: Model, choice: str, whole: Gathered) -> None:
    """Only tools that may be called, with arguments as their schemas say; an answer as its schema says."""
    turn = model.form, model.turn(choice)
    tools = {tool.name: tool for tool in turn[1].callable_tools}
    for call in whole.calls:
        jsonschema.validate(json.loads(call.arguments), parameters(tools[call.name]), jsonschema.Draft202012Validator)
    if turn[1].answer is not None and not whole.calls:
        jsonschema.validate(json.loads(whole.text), ANSWER, jsonschema.Draft202012Validator)
    if not turn[1].parallel:
        assert len(whole.calls) == 1
    finished = whole.finished
    assert finished is not None
    ended = [call for call in whole.calls if call.is_complete]
    assert finished.reason == ("length" if finished.closed_by_budget else "tool_calls" if ended else "stop")
    assert finished.closed_by_budget or len(ended) == len(whole.calls)
    assert 0 <= finished.usage.reasoning_tokens <= finished.usage.completion_tokens
    assert (finished.usage.reasoning_tokens > 0) >= bool(whole.reasoning)


def assert_faithful(model: Model, choice: str, outputs: list[Output], random: Random) -> None:
    """The streamed parse is the whole parse, in whatever pieces it comes."""
    whole, written = gathered(outputs), model.written(outputs)
    parsed = parse(model.layout, choice, written)
    assert (whole.reasoning, whole.text) == (parsed.reasoning, parsed.text), written
    assert [(call.name, json.loads(call.arguments)) for call in whole.calls] == parsed.calls, written
    for other in cuts(outputs, random):
        assert gathered(other) == whole, written
        assert_in_order(read(other))
    assert_in_order(read(outputs))
    assert_valid(model, choice, whole)


def assert_turns(folder: Path, name: str, count: int, choices: Iterable[str] = CHOICES) -> None:
    model, random = Model(folder, LAYOUTS[name]), Random(name)
    for choice in choices:
        for outputs in model.answers(choice, count, seed=random.randrange(10**6)):
            assert_faithful(model, choice, outputs, random)


@pytest.mark.parametrize("name", LAYOUTS)
def test_streamed_turns_are_what_was_written(tmp_path: Path, name: str) -> None:
    assert_turns(tmp_path, name, 1, ("auto", "required", "answer"))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_many_streamed_turns_are_what_was_written(tmp_path: Path, name: str) -> None:
    assert_turns(tmp_path, name, 20)
