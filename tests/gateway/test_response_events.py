"""The stream of a response: for any answer in any chunks, the order, the numbers, the ids and the whole."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from espalier.engine.messages import TokenLogprob
from espalier.gateway.answer_event import CallBegun, CallEnded, Finished, TextDelta
from espalier.gateway.errors import ApiError
from espalier.gateway.response_events import ResponseEvents
from espalier.gateway.wire.answers import ContentLogprob
from espalier.gateway.wire.responses import Response, ResponseStatus, TextOptions
from tests.gateway.answers import USAGE, Whole, wholes

SPELLED = ContentLogprob("a", -0.5, [97], [])
PARSER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def initial(status: ResponseStatus = "in_progress") -> Response:
    return Response(
        id="resp_1", created_at=1, status=status, background=False, instructions=None, max_output_tokens=None,
        max_tool_calls=None, model="tiny", parallel_tool_calls=True, previous_response_id=None, reasoning=None,
        store=True, temperature=1.0, top_p=1.0, presence_penalty=0.0, frequency_penalty=0.0, top_logprobs=0,
        text=TextOptions(),
        tool_choice="auto", tools=[], truncation="disabled", metadata={}, prompt_cache_key=None,
        prompt_cache_retention=None, safety_identifier=None, user=None,
    )  # fmt: skip


def begun(status: ResponseStatus = "in_progress") -> ResponseEvents:
    count = itertools.count()
    return ResponseEvents(
        initial(status), lambda prefix: f"{prefix}_{next(count)}", lambda given: [SPELLED] * len(given), lambda: 7.9
    )


def wire(events: list[Any]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events]


def told(whole: Whole, size: int = 10**9) -> list[dict[str, Any]]:
    growing = begun()
    events = growing.begin()
    for event in whole.events(size):
        events += growing.add(event)
    return wire(events)


@given(wholes(), st.integers(1, 12))
def test_events_are_numbered_without_a_gap_and_items_keep_their_ids(whole: Whole, size: int) -> None:
    events = told(whole, size)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[0]["response"]["output"] == []
    ids: dict[int, set[str]] = {}
    for event in events:
        if "output_index" in event:
            ids.setdefault(event["output_index"], set()).add(event.get("item_id") or event["item"]["id"])
    assert all(len(names) == 1 for names in ids.values()) and list(ids) == list(range(len(ids)))
    assert [item["id"] for item in events[-1]["response"]["output"]] == [name for (name,) in ids.values()]


@given(wholes(), st.integers(1, 12))
def test_every_chunking_gives_the_same_whole(whole: Whole, size: int) -> None:
    assert told(whole, size)[-1]["response"] == told(whole)[-1]["response"]


@given(wholes(), st.integers(1, 12))
def test_the_whole_is_the_answer_and_the_deltas_are_its_parts(whole: Whole, size: int) -> None:
    events = told(whole, size)
    output = events[-1]["response"]["output"]
    for at, item in enumerate(output):
        within = [event for event in events if event.get("output_index") == at]
        deltas = "".join(event["delta"] for event in within if "delta" in event)
        kinds = [event["type"].removeprefix("response.") for event in within]
        assert kinds[0] == "output_item.added" and within[0]["item"]["status"] == "in_progress"
        if item["type"] == "function_call":
            assert deltas == item["arguments"]
            if item["status"] == "completed":
                assert kinds[-2:] == ["function_call_arguments.done", "output_item.done"] and within[-1]["item"] == item
            else:
                assert set(kinds[1:]) == {"function_call_arguments.delta"}
        else:
            assert deltas == item["content"][0]["text"] and within[-1]["item"] == item
            assert kinds[1] == "content_part.added" and kinds[-2:] == ["content_part.done", "output_item.done"]
    said = [item["content"][0]["text"] for item in output if item["type"] == "message"]
    assert said == ([whole.text] if whole.text or not (whole.reasoning or whole.calls) else [])
    calls = [(item["name"], item["arguments"]) for item in output if item["type"] == "function_call"]
    assert calls == list(whole.calls)


@settings(deadline=None)
@given(wholes(), st.integers(1, 12))
def test_openais_own_types_and_accumulator_read_every_event(whole: Whole, size: int) -> None:
    state: ResponseStreamState[Any] = ResponseStreamState(text_format=omit, input_tools=omit)
    read = [state.handle_event(PARSER.validate_python(event)) for event in told(whole, size)]
    last: Any = read[-1][0]
    assert last.response.output_text == whole.text


def test_an_answer_that_ended_by_itself_is_completed_and_counted() -> None:
    response = told(Whole(text="Hi"))[-1]["response"]
    assert (response["status"], response["completed_at"], response["incomplete_details"]) == ("completed", 7, None)
    assert response["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14,
    }


def test_an_answer_that_was_cut_is_incomplete() -> None:
    *_, done, last = told(Whole(text="Hi", is_cut=True))
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert done["item"]["status"] == last["response"]["output"][0]["status"] == "incomplete"


def test_a_call_that_the_budget_closed_is_never_told_as_done() -> None:
    events = told(Whole(calls=(("a", '{"x":1}'), ("b", '{"y":2}')), is_cut=True))
    assert [event["item"]["name"] for event in events if event["type"] == "response.output_item.done"] == ["a"]
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["completed", "incomplete"]


def test_a_call_without_deltas_gets_one() -> None:
    growing = begun()
    growing.add(CallBegun(0, "c", "f"))
    events = wire(growing.add(CallEnded(0, "c", "f", "{}")))
    assert [event["type"].rsplit(".", 1)[-1] for event in events] == ["delta", "done", "done"]
    assert events[0]["delta"] == "{}"


def test_log_probabilities_are_told_with_their_text_and_in_the_whole() -> None:
    growing = begun()
    events = growing.add(TextDelta("a", (TokenLogprob(1, -0.5),))) + growing.add(
        TextDelta("b", (TokenLogprob(1, -0.5),))
    )
    events += growing.add(Finished("stop", USAGE))
    told_events = wire(events)
    counts = [len(event["logprobs"]) for event in told_events if "logprobs" in event]
    assert counts == [1, 1, 2]
    assert len(told_events[-1]["response"]["output"][0]["content"][0]["logprobs"]) == 2


def test_a_queued_response_says_so_first() -> None:
    growing = begun("queued")
    kinds = [event["type"] for event in wire(growing.begin())]
    assert kinds == ["response.created", "response.queued", "response.in_progress"]
    assert growing.response.status == "in_progress"


def test_the_response_can_be_read_while_it_grows() -> None:
    growing = begun()
    growing.add(TextDelta("Hel"))
    (item,) = growing.response.output
    assert item.status == "in_progress" and growing.response.usage is None


@pytest.mark.parametrize(
    ("status", "code"), [(400, "invalid_prompt"), (429, "rate_limit_exceeded"), (503, "server_error")]
)
def test_a_failure_is_told_twice_after_what_was_said(status: int, code: str) -> None:
    growing = begun()
    events = growing.begin() + growing.add(TextDelta("Hel"))
    error, last = wire(growing.fail(ApiError(status, "it ended", code="engine_died")))[-2:]
    assert error["type"] == "error" and error["error"]["message"] == "it ended"
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert error["sequence_number"] > len(events)
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": code, "message": "it ended"}
    assert last["response"]["output"][0]["status"] == "incomplete"
    PARSER.validate_python(last)


def test_a_cancelled_response_keeps_what_was_said() -> None:
    growing = begun()
    growing.add(TextDelta("Hel"))
    last = wire(growing.cancel())[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
    PARSER.validate_python(last)


def test_an_end_that_could_not_be_kept_is_a_failure_without_a_gap() -> None:
    growing = begun()
    events = growing.begin() + growing.add(TextDelta("Hel")) + growing.add(Finished("stop", USAGE))
    failed = wire(growing.retract(ApiError(503, "the disk is full")))
    assert [event["sequence_number"] for event in failed] == [len(events) - 1, len(events)]
    response = failed[-1]["response"]
    assert (response["status"], response["completed_at"]) == ("failed", None)
    assert response["output"][0]["content"][0]["text"] == "Hel"
