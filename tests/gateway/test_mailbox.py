from __future__ import annotations

import asyncio

import pytest

from espalier.engine.errors import ContextOverflowError, EngineDiedError, RequestError
from espalier.engine.messages import Output, PartBegun, PartEnded, PartText, Timings, TokenLogprob, Usage
from espalier.gateway.mailbox import Mailbox, Mailboxes, merge

pytestmark = pytest.mark.anyio


def test_merged_outputs_say_what_the_single_ones_said() -> None:
    outputs = [
        Output("r", "a", [1], [TokenLogprob(1, -0.1)], usage=Usage(3, 0, 1)),
        Output("r", "", [2], None, usage=Usage(3, 0, 2)),
        Output("r", "b", [3, 4], [TokenLogprob(3, -0.3)], "stop", "b", Usage(3, 0, 4), Timings(total_s=1.0)),
    ]
    assert merge(outputs) == Output(
        "r",
        "ab",
        [1, 2, 3, 4],
        [TokenLogprob(1, -0.1), TokenLogprob(3, -0.3)],
        "stop",
        "b",
        Usage(3, 0, 4),
        Timings(total_s=1.0),
    )
    assert merge(outputs[:1]) is outputs[0]


def test_merged_parts_are_told_in_one_piece_each() -> None:
    outputs = [
        Output("r", parts=(PartBegun("text"), PartText("text", "a"))),
        Output("r"),
        Output("r", parts=(PartText("text", "b"), PartEnded("text", 3), PartBegun("name"))),
        Output("r", parts=(PartText("name", "c"), PartText("name", "d"))),
    ]
    assert merge(outputs).parts == (
        PartBegun("text"), PartText("text", "ab"), PartEnded("text", 3), PartBegun("name"), PartText("name", "cd"),
    )  # fmt: skip


async def test_parts_with_log_probabilities_are_not_merged() -> None:
    box = Mailbox()
    outputs = [
        Output("r", token_ids=[at], logprobs=[TokenLogprob(at, -0.1)], parts=(PartText("text", "a"),))
        for at in range(3)
    ]
    for output in outputs:
        box.put(output)
    assert [await box.take() for _ in outputs] == outputs


async def test_a_prompt_reader_gets_each_output_and_a_slow_one_gets_them_merged() -> None:
    box = Mailbox()
    reading = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    box.put(Output("r", "a", [1]))
    assert (await reading).text == "a"
    for text in "bcd":
        box.put(Output("r", text, [2]))
    assert (await box.take()).text == "bcd"
    assert not box.is_finished


async def test_it_is_finished_by_the_last_output_read_or_not() -> None:
    box = Mailbox()
    box.put(Output("r", "a", [1], finish_reason="stop"))
    assert box.is_finished
    await box.finished()
    box.fail(EngineDiedError("late"))
    assert (await box.take()).finish_reason == "stop"


async def test_an_error_is_raised_after_what_was_said_before_it() -> None:
    box = Mailbox()
    box.put(Output("r", "a", [1]))
    box.put(Output("r", finish_reason="error", error_code="context_length_exceeded", error_message="too long"))
    assert (await box.take()).text == "a"
    for _ in range(2):
        with pytest.raises(ContextOverflowError, match="too long"):
            await box.take()


async def test_a_reader_that_waits_gets_the_error() -> None:
    box = Mailbox()
    reading = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    box.fail(EngineDiedError("killed"))
    with pytest.raises(EngineDiedError):
        await reading


async def test_mailboxes_hold_a_request_until_its_last_output() -> None:
    boxes = Mailboxes()
    box = boxes.open("r")
    with pytest.raises(RequestError, match="running already"):
        boxes.open("r")
    boxes.deliver([Output("r", "a", [1]), Output("unknown", "x", [1])])
    assert (boxes.get("r"), len(boxes), boxes.ids()) == (box, 1, ["r"])
    boxes.deliver([Output("r", finish_reason="abort")])
    assert (boxes.get("r"), len(boxes)) == (None, 0)
    await boxes.all_finished()
    assert boxes.open("r") is not box


async def test_failing_all_ends_each_with_its_own_error() -> None:
    boxes = Mailboxes()
    readers = [asyncio.create_task(boxes.open(str(number)).take()) for number in range(3)]
    waiting = asyncio.create_task(boxes.all_finished())
    await asyncio.sleep(0)
    assert boxes.fail_all(lambda: EngineDiedError("killed")) == 3
    errors = await asyncio.gather(*readers, return_exceptions=True)
    assert {type(error) for error in errors} == {EngineDiedError}
    assert len({id(error) for error in errors}) == 3
    await waiting
    assert len(boxes) == 0
