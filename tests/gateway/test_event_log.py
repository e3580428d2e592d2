"""The log of a turn's events: every reader gets each event once, in order, wherever it begins."""

from __future__ import annotations

import asyncio

import pytest

from espalier.gateway.event_log import EventLog, GapError

pytestmark = pytest.mark.anyio


async def read(log: EventLog, start: int = 0) -> list[tuple[int, bytes]]:
    return [event async for event in log.read(start)]


async def test_events_are_numbered_from_0() -> None:
    log = EventLog()
    assert [log.append(b"a"), log.append(b"b")] == [0, 1]
    assert (log.first, log.next, log.events) == (0, 2, (b"a", b"b"))


async def test_every_reader_gets_what_comes_after_its_start_whenever_it_comes() -> None:
    log = EventLog()
    readers = []
    for number in range(6):
        readers += [asyncio.create_task(read(log, start)) for start in (0, number, number + 2)]
        await asyncio.sleep(0)
        log.append(str(number).encode())
    log.close()
    whole = [(number, str(number).encode()) for number in range(6)]
    starts = [start for number in range(6) for start in (0, number, number + 2)]
    assert [await reader for reader in readers] == [whole[start:] for start in starts]
    assert await read(log, 4) == whole[4:]


async def test_a_reader_beyond_the_end_of_a_closed_log_gets_nothing() -> None:
    log = EventLog()
    log.close()
    assert await read(log) == [] and await read(log, 7) == []


async def test_the_oldest_go_first_and_who_asks_for_them_is_told() -> None:
    log = EventLog(max_bytes=100)
    for number in range(30):
        log.append(bytes([number]) * 10)
        assert sum(map(len, log.events)) <= 100
    log.close()
    assert log.next == 30 and log.first > 0
    assert await read(log, log.first) == list(enumerate(log.events, log.first))
    with pytest.raises(GapError):
        await read(log, log.first - 1)


async def test_an_event_larger_than_the_bound_is_kept_alone() -> None:
    log = EventLog(max_bytes=10)
    log.append(b"a")
    log.append(b"b" * 50)
    assert log.events == (b"b" * 50,) and log.first == 1


async def test_begun_waits_for_the_first_event_or_the_end() -> None:
    for act in (lambda log: log.append(b"a"), EventLog.close):
        log = EventLog()
        waiting = asyncio.create_task(log.begun())
        await asyncio.sleep(0)
        assert not waiting.done()
        act(log)
        await waiting
