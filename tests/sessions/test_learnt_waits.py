"""How long tools take is known after a restart: stored beside the sessions, seldom, without names."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from espalier.sessions import Completion, Draft, JsonObject, Sessions
from espalier.sessions.errors import CorruptError
from espalier.sessions.session import Session
from espalier.sessions.store import Store
from espalier.sessions.store.migration import FIRST
from espalier.sessions.store.store import connect
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.wait import LEVELS, Learnt, Waits
from tests.sessions.conftest import Clock, World

pytestmark = pytest.mark.anyio


async def learn(world: World, tool: str, wait_s: float, tenant: str = "a") -> None:
    """A turn that calls a tool, and one that brings its result after a while."""
    session = await world.sessions.create(tenant)
    turn = await world.begin(session.id, tenant=tenant)
    call: JsonObject = {"id": "c", "type": "function", "function": {"name": tool, "arguments": {}}}
    answer: JsonObject = {"role": "assistant", "content": "", "tool_calls": [call]}
    await world.sessions.complete(tenant, turn.id, Completion(answer))
    world.clock.now += wait_s
    result: JsonObject = {"role": "tool", "tool_call_id": "c", "content": "done"}
    begun = await world.sessions.begin(tenant, session.id, Draft(turn.id, turn.id, (result,)))
    await world.sessions.complete(tenant, begun.turn.id, Completion(None))


async def test_waits_are_known_after_a_restart(world: World) -> None:
    await learn(world, "find", 3.0)
    await learn(world, "seek", 50.0)
    known = {tool: world.sessions.waits_for("a", [tool]) for tool in ("find", "seek")}
    await world.reopened()
    assert {tool: world.sessions.waits_for("a", [tool]) for tool in known} == known
    assert len(known["find"]) == len(LEVELS) and known["find"] != known["seek"]
    assert world.sessions.waits_for("b", ["find"]) == ()
    await learn(world, "find", 3.0)
    await world.reopened()
    assert world.sessions.waits_for("a", ["find"]) == known["find"]


async def test_what_was_stored_survives_a_kill(world: World, tmp_path: Path) -> None:
    await learn(world, "find", 3.0)
    await world.sessions.store_waits()
    shutil.copytree(world.folder, tmp_path / "copy")
    after = await Sessions.open(tmp_path / "copy", clock=world.clock)
    assert after.waits_for("a", ["find"]) == world.sessions.waits_for("a", ["find"]) != ()
    await after.close()


async def test_a_turn_writes_nothing_of_it(world: World) -> None:
    await learn(world, "find", 3.0)
    with sqlite3.connect(world.folder / "sessions.db") as reader:
        assert reader.execute("SELECT count(*) FROM waits").fetchone() == (0,)
    reader.close()


async def test_only_so_many_are_stored_at_a_time_and_all_at_the_end(world: World) -> None:
    for number in range(5):
        await learn(world, f"tool{number}", 1.0)
    await world.sessions.store_waits(2)
    with sqlite3.connect(world.folder / "sessions.db") as reader:
        assert reader.execute("SELECT count(*) FROM waits").fetchone() == (2,)
    reader.close()
    await world.reopened()
    assert all(world.sessions.waits_for("a", [f"tool{number}"]) for number in range(5))


async def test_what_could_not_be_stored_is_stored_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await learn(world, f"tool{number}", 1.0)

    def fail(*_: object) -> None:
        raise CorruptError("a page of the database")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "put_waits", fail)
        with pytest.raises(CorruptError):
            await world.sessions.store_waits()
    await world.reopened()
    assert all(world.sessions.waits_for("a", [f"tool{number}"]) for number in range(3))


async def test_no_tools_name_is_left_of_sessions_that_were_deleted(world: World) -> None:
    await learn(world, "very_secret_tool", 3.0)
    await world.sessions.store_waits()
    for session in (await world.sessions.list("a")).items:
        await world.sessions.delete("a", session.id)
    files = [file.read_bytes() for file in world.folder.iterdir()]
    assert not any(b"very_secret" in content for content in files)
    assert world.sessions.waits_for("a", ["very_secret_tool"]) != ()


async def test_a_damaged_row_is_learnt_again(world: World) -> None:
    await learn(world, "find", 3.0)
    await learn(world, "seek", 3.0)
    known = world.sessions.waits_for("a", ["seek"])
    await world.sessions.close()
    connection = connect(world.folder / "sessions.db")
    connection.execute("UPDATE waits SET weights = x'00' WHERE tool = (SELECT min(tool) FROM waits)")
    connection.close()
    world.sessions = await Sessions.open(world.folder, clock=world.clock)
    assert sorted(world.sessions.waits_for("a", [tool]) for tool in ("find", "seek")) == [(), known]
    for tool in ("find", "seek"):
        await learn(world, tool, 3.0)
        assert world.sessions.waits_for("a", [tool]) == known


async def test_the_table_keeps_the_tools_used_last(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    waits = Waits()
    for number in range(5):
        waits.observe("a", [str(number)], 1.0)
        learnt: tuple[Learnt, ...] = waits.changes()
        waits.settle(learnt)
        await store.commit(lambda tx, one=learnt, now=float(number): tx.put_waits(one, now, 3))  # type: ignore[misc]
    kept = Waits(learnt=await store.read(lambda reader: reader.waits()))
    assert [bool(kept.quantiles("a", [str(number)])) for number in range(5)] == [False, False, True, True, True]
    store.close()


async def test_a_tenants_flood_of_names_pushes_nothing_of_others_out_of_the_table(tmp_path: Path) -> None:
    store, waits = Store.open(tmp_path), Waits()
    for now, (tenant, tool) in enumerate([("a", "one"), ("a", "two"), *(("b", str(number)) for number in range(20))]):
        waits.observe(tenant, [tool], 1.0)
        learnt = waits.changes()
        waits.settle(learnt)
        await store.commit(lambda tx, one=learnt, now=float(now): tx.put_waits(one, now, 5))  # type: ignore[misc]
    kept = Waits(learnt=await store.read(lambda reader: reader.waits()))
    assert kept.quantiles("a", ["one"]) != () and kept.quantiles("a", ["two"]) != ()
    assert [number for number in range(20) if kept.quantiles("b", [str(number)])] == [17, 18, 19]
    store.close()


async def test_a_store_of_an_earlier_version_learns_too(tmp_path: Path) -> None:
    store = Store.open(tmp_path, migrations=(FIRST,))
    await store.commit(lambda tx: tx.put_session(Session("sess_old", "a", "session", 0.0, 0.0)))
    store.close()
    clock = Clock()
    sessions = await Sessions.open(tmp_path, clock=clock)
    world = World(sessions, clock, tmp_path)
    assert (await sessions.get("a", "sess_old")).id == "sess_old"
    assert sessions.waits_for("a", ["find"]) == ()
    await learn(world, "find", 3.0)
    await world.reopened()
    assert world.sessions.waits_for("a", ["find"]) != ()
    await world.sessions.close()
