"""Running turns and their clients: who ends with them, who waits for them, who goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from espalier.gateway.errors import ApiError
from espalier.gateway.event_log import EventLog
from espalier.gateway.live_turn import LiveTurn, LiveTurns, Policy

pytestmark = pytest.mark.anyio


@dataclass
class Timer:
    """A timer that the test sets off."""

    seconds: float
    act: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Clock:
    """Remembers the timers that were set."""

    timers: list[Timer] = field(default_factory=list)

    def later(self, seconds: float, act: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, act))
        return self.timers[-1]


@dataclass
class Producer:
    """Writes an event each time it is let; says how it ended."""

    num_events: int = 3
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    ending: str = "running"

    async def __call__(self, log: EventLog) -> None:
        try:
            for number in range(self.num_events):
                await self.gate.acquire()
                log.append(str(number).encode())
            self.ending = "whole"
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what it has to put in order takes a while
            self.ending = "cancelled"
            raise

    def run(self) -> None:
        for _ in range(self.num_events):
            self.gate.release()


def started(policy: Policy, producer: Producer, clock: Clock | None = None) -> tuple[LiveTurns, LiveTurn]:
    turns = LiveTurns(grace_s=5, later=(clock or Clock()).later)
    return turns, turns.start("ada", "t1", producer, policy)


async def test_a_client_reads_to_the_end() -> None:
    producer = Producer()
    turns, turn = started("attached", producer)
    producer.run()
    async with turn.attached() as log:
        assert [event async for event in log.read()] == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert producer.ending == "whole" and len(turns) == 0


async def test_an_attached_turn_has_ended_when_its_last_client_has_left() -> None:
    producer = Producer()
    turns, turn = started("attached", producer)
    async with turn.attached():
        async with turn.attached():
            await asyncio.sleep(0)
        assert producer.ending == "running" and turn.has_client
    assert producer.ending == "cancelled" and len(turns) == 0


async def test_a_kept_turn_waits_for_its_clients_for_a_grace_time() -> None:
    producer, clock = Producer(), Clock()
    _, turn = started("kept", producer, clock)
    async with turn.attached():
        await asyncio.sleep(0)
    (timer,) = clock.timers
    assert timer.seconds == 5 and producer.ending == "running"
    async with turn.attached():
        assert timer.is_cancelled
    clock.timers[1].act()
    await turn.ended()
    assert producer.ending == "cancelled"


async def test_a_kept_turn_resumes_without_gap_or_duplicate() -> None:
    producer = Producer()
    _, turn = started("kept", producer)
    read: list[int] = []
    for _ in range(3):
        producer.gate.release()
        async with turn.attached() as log:
            async for number, _data in log.read(len(read)):
                read.append(number)
                break
    assert read == [0, 1, 2]


async def test_a_background_turn_needs_no_client() -> None:
    producer, clock = Producer(), Clock()
    _, turn = started("background", producer, clock)
    async with turn.attached():
        pass
    producer.run()
    await turn.ended()
    assert producer.ending == "whole" and not clock.timers


@pytest.mark.parametrize("policy", ["attached", "kept", "background"])
@pytest.mark.parametrize("ticks", [0, 1, 2])
async def test_a_cancel_returns_when_the_producer_has_ended(policy: Policy, ticks: int) -> None:
    producer = Producer()
    turns, turn = started(policy, producer)
    for _ in range(ticks):
        await asyncio.sleep(0)
    await turn.cancel()
    assert producer.ending == "cancelled"
    assert turn.log.is_closed and len(turns) == 0
    await turn.ended()


async def test_two_cancels_at_once_let_the_producer_tidy_up() -> None:
    producer = Producer()
    _, turn = started("background", producer)
    await asyncio.gather(turn.cancel(), turn.cancel())
    assert producer.ending == "cancelled"


async def test_what_ends_a_turn_before_its_first_event_is_raised() -> None:
    async def fail(log: EventLog) -> None:
        raise ApiError(503, "the engine is restarting")

    async def fail_late(log: EventLog) -> None:
        log.append(b"0")
        raise ApiError(503, "the engine is restarting")

    turns = LiveTurns()
    with pytest.raises(ApiError):
        await turns.start("ada", "t1", fail, "attached").begun()
    late = turns.start("ada", "t2", fail_late, "attached")
    await late.begun()
    with pytest.raises(ApiError):
        await late.ended()


async def test_a_turn_is_found_by_its_tenant_only_and_while_it_runs() -> None:
    producer = Producer()
    turns, turn = started("background", producer)
    assert turns.get("ada", "t1") is turn
    assert turns.get("bob", "t1") is None and turns.get("ada", "t2") is None
    await turns.close()
    assert turns.get("ada", "t1") is None and producer.ending == "cancelled"
