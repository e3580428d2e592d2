"""Power lost at random moments of a busy store: what was acknowledged is there, half turns are not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from espalier.sessions import Completion, Draft, Sessions
from espalier.sessions.errors import ReadOnlyError, SessionError
from espalier.sessions.store import Store
from tests.sessions.conftest import assistant, user
from tests.sessions.faulty_disk import FaultyDisk, connector

pytestmark = pytest.mark.anyio

Images: TypeAlias = list[tuple[dict[str, bytes], dict[str, int]]]


async def life(sessions: Sessions, num_turns: int, acknowledged: dict[str, int]) -> None:
    """One session, turn after turn; `acknowledged` counts what was awaited."""
    session = await sessions.create("a")
    acknowledged[session.id] = 0
    head = None
    for number in range(num_turns):
        draft = Draft(head, head, (user(f"{session.id} asks {number} " * 40),), prompt_ids=(number,))
        begun = await sessions.begin("a", session.id, draft)
        done = Completion(assistant(f"answer {number}"), (number,), "stop", b"x" * 300)
        await sessions.complete("a", begun.turn.id, done)
        head = begun.turn.id
        acknowledged[session.id] = number + 1


def write(folder: Path, image: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in image.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(content)


async def num_lost(folder: Path, image: dict[str, bytes], acknowledged: dict[str, int]) -> int:
    """Open what a crash left behind, with plain SQLite; count the acknowledged turns that are not there."""
    write(folder, image)
    sessions = await Sessions.open(folder)
    try:
        return sum([await lost_of(sessions, session_id, number) for session_id, number in acknowledged.items()])
    finally:
        await sessions.close()


async def lost_of(sessions: Sessions, session_id: str, num_turns: int) -> int:
    """How many acknowledged turns a session lacks; those that are there are checked to be whole, and each once."""
    path = await sessions.path("a", session_id)
    assert path.session.running is None
    for number, turn in enumerate(path.turns):
        assert turn.messages == (user(f"{session_id} asks {number} " * 40),)
        assert turn.answer == assistant(f"answer {number}") and turn.output_ids == (number,)
    states = [turn.state for turn in (await sessions.turns("a", session_id, limit=100)).items]
    assert states.count("complete") == len(path.turns) and states.count("running") == 0
    return max(0, num_turns - len(path.turns))


async def crash_often(
    folder: Path, seed: int, *, num_crashes: int, when: Callable[[random.Random], bool], is_careless: bool = False
) -> Images:
    """A busy store, and what a loss of power would have left at moments of which `when` chooses."""
    random_ = random.Random(seed)
    disk = FaultyDisk(random_)
    images: Images = []
    acknowledged: dict[str, int] = {}

    def maybe_crash() -> None:
        if len(images) < num_crashes and when(random_):
            # Read first: what is acknowledged later need not be on the disk that is seen here.
            expected = dict(acknowledged)
            images.append((disk.crash(), expected))

    disk.after_change = maybe_crash
    connect = connector(disk, f"{folder.name}-{seed}", is_careless=is_careless)
    sessions = await Sessions.over(Store.open(folder, connect=connect))
    await asyncio.gather(*(life(sessions, 12, acknowledged) for _ in range(8)))
    await sessions.close()
    return images


@pytest.mark.parametrize("seed", range(3))
async def test_no_acknowledged_turn_is_lost_with_the_power(tmp_path: Path, seed: int) -> None:
    images = await crash_often(tmp_path / "live", seed, num_crashes=25, when=lambda random_: random_.random() < 0.03)
    assert sum(sum(acknowledged.values()) for _, acknowledged in images) > 100
    for number, (image, acknowledged) in enumerate(images):
        assert await num_lost(tmp_path / str(number), image, acknowledged) == 0


async def test_a_store_that_does_not_wait_for_the_disk_does_lose_turns(tmp_path: Path) -> None:
    """So the disk of these tests is able to lose, and the test above to see it."""
    images = await crash_often(
        tmp_path / "careless", 1, num_crashes=25, when=lambda random_: random_.random() < 0.03, is_careless=True
    )
    total = 0
    for number, (image, acknowledged) in enumerate(images):
        try:
            total += await num_lost(tmp_path / str(number), image, acknowledged)
        except (SessionError, AssertionError):  # half of a turn is a way to lose one, too
            total += 1
    assert total > 0


@pytest.mark.slow
async def test_no_acknowledged_turn_is_lost_with_the_power_at_any_write(tmp_path: Path) -> None:
    for seed in range(10):
        images = await crash_often(
            tmp_path / f"live{seed}", seed, num_crashes=200, when=lambda random_: random_.random() < 0.3
        )
        for number, (image, acknowledged) in enumerate(images):
            assert await num_lost(tmp_path / f"{seed}-{number}", image, acknowledged) == 0


@pytest.mark.parametrize("what", ["write", "sync"])
async def test_a_disk_that_fails_makes_the_store_read_only(tmp_path: Path, what: str) -> None:
    disk = FaultyDisk(random.Random(1))
    sessions = await Sessions.over(Store.open(tmp_path, connect=connector(disk, f"failing-{what}")))
    session = await sessions.create("a")
    disk.fails = lambda failing: failing == what
    with pytest.raises(ReadOnlyError):
        await sessions.begin("a", session.id, Draft(None, None, (user("hi"),)))
    disk.fails = lambda failing: False
    assert sessions.failure is not None and sessions.failure.startswith("SQLITE_IOERR")
    with pytest.raises(ReadOnlyError):
        await sessions.create("a")
    assert (await sessions.get("a", session.id)).id == session.id
    await sessions.close()
