"""A connection that breaks, at every byte: the same events, no tool run twice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from espalier.gateway.sdk import Agent, Call, Client, Retry, RunEnded, ToolFinished, ToolStarted, tool
from espalier.gateway.sdk.event import Event
from tests.gateway.sdk.wire_server import Chunks, WireServer, called, said

pytestmark = pytest.mark.anyio

NUM_EVENTS = 200


def calls_of_200_events() -> Chunks:
    """A turn of three calls in words, 200 events with the usage at its end."""
    words: Chunks = [{"delta": {"content": f"w{number} "}} for number in range(60)]
    head, *calls = called(*(("add", json.dumps({"a": 10**n, "b": 7})) for n in (8, 9, 10)), size=1)
    rest = NUM_EVENTS - len(words) - len(calls) - 2
    return [head, *words, *({"delta": {"content": "é"}} for _ in range(rest)), *calls]


class Sums:
    """A tool that counts what it is asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def tool(self, effect: str) -> object:
        def add(a: int, b: int, call: Call) -> int:
            """The sum."""
            self.keys.append(call.key)
            return a + b

        return tool(effect=effect)(add)  # type: ignore[call-overload]


async def events_of(client: Client, effect: str) -> tuple[list[Event[str]], list[str]]:
    """What a run tells, without what differs from run to run, and the keys of the calls that were made."""
    sums = Sums()
    agent = Agent(client, tools=[sums.tool(effect)])  # type: ignore[list-item]
    events = [event async for event in agent.stream("Add.")]
    return events, sums.keys


def told(events: list[Event[str]]) -> tuple[list[str], list[str], str]:
    """Events in their order; tools begin and end beside it."""
    (run,) = [event.run for event in events if isinstance(event, RunEnded)]
    model = [repr(event) for event in events if not isinstance(event, RunEnded | ToolStarted | ToolFinished)]
    results = sorted(event.result.content for event in events if isinstance(event, ToolFinished))
    return model, results, run.answer


def server() -> WireServer:
    return WireServer([calls_of_200_events(), said("Sums ", "are there.")])


async def whole(client_of: Callable[..., Client], effect: str) -> tuple[tuple[list[str], list[str], str], int]:
    """What an unbroken run tells, and the bytes of its first stream."""
    unbroken = server()
    events, keys = await events_of(client_of(unbroken), effect)
    turn = next(iter(unbroken.turns.values()))
    assert len(turn.payloads) == NUM_EVENTS and len(set(keys)) == len(keys) == 3
    return told(events), len(b"".join([part async for part in unbroken.written(turn, 0)]))


async def check(client_of: Callable[..., Client], effect: str, cuts: list[list[int | None]]) -> None:
    expected, _ = await whole(client_of, effect)
    for one in cuts:
        broken = server()
        events, keys = await events_of(client_of(broken, one), effect)
        assert told(events) == expected, one
        assert len(set(keys)) == len(keys) == 3, one
        assert len(broken.bodies) == 2, one


@pytest.mark.parametrize("effect", ["once", "none"])
async def test_a_stream_cut_anywhere_tells_the_same_events_and_runs_no_tool_twice(
    client_of: Callable[..., Client], effect: str
) -> None:
    _, size = await whole(client_of, effect)
    await check(
        client_of, effect, [[cut] for cut in [*range(0, 500, 23), *range(500, size, 997), *range(size - 20, size + 1)]]
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("effect", ["once", "none"])
async def test_a_stream_cut_at_every_byte_tells_the_same_events_and_runs_no_tool_twice(
    client_of: Callable[..., Client], effect: str, part: int
) -> None:
    _, size = await whole(client_of, effect)
    await check(client_of, effect, [[cut] for cut in range(part, size + 1, 4)])


async def test_a_stream_cut_again_and_again_tells_the_same_events(client_of: Callable[..., Client]) -> None:
    cuts: list[list[int | None]] = [[300] * 400, [377] * 400, [1000] * 400, [-1, 0, 5, 300, -1, 2000, 1]]
    await check(client_of, "once", cuts)


async def test_a_server_without_event_ids_ends_the_run_with_an_error_not_with_a_gap(
    client_of: Callable[..., Client],
) -> None:
    broken = server()
    broken.has_ids = False
    with pytest.raises(Exception, match="its events have no ids"):
        await events_of(client_of(broken, [5000], retry=Retry()), "once")
