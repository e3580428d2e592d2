"""The store on disk: groups, versions, owners, damage, and a disk that does not take what is written."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from espalier.sessions import Completion, Draft, Sessions
from espalier.sessions.errors import CorruptError, ReadOnlyError, StoreError
from espalier.sessions.session import Session
from espalier.sessions.store import Store
from espalier.sessions.store.migration import MIGRATIONS
from espalier.sessions.store.store import connect
from espalier.sessions.store.transaction import Transaction
from tests.sessions.conftest import World, assistant, user

pytestmark = pytest.mark.anyio


def put(name: str) -> Session:
    return Session(f"sess_{name}", "a", "session", 0.0, 0.0)


async def test_what_waits_together_is_written_together(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    before = store.stats.transactions

    def write(number: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(store.commit(lambda tx: tx.put_session(put(str(number)))))

    await asyncio.gather(*(write(number) for number in range(500)))
    assert store.stats.jobs >= 500
    assert store.stats.transactions - before < 500
    found = await store.read(lambda reader: reader.sessions("a", "session", 1.0, limit=1000, after=None, order="asc"))
    assert len(found) == 500
    store.close()


async def test_a_job_that_fails_is_undone_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path)

    def fail(tx: Transaction) -> None:
        tx.put_session(put("half"))
        raise KeyError("half")

    results = await asyncio.gather(
        store.commit(lambda tx: tx.put_session(put("before"))),
        store.commit(fail),
        store.commit(lambda tx: tx.put_session(put("after"))),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), KeyError, type(None)]
    found = await store.read(lambda reader: reader.sessions("a", "session", 1.0, limit=9, after=None, order="asc"))
    assert [session.id for session in found] == ["sess_before", "sess_after"]
    store.close()


async def test_only_the_owner_reads_the_files(world: World) -> None:
    session = await world.sessions.create("a")
    await world.say(session.id)
    assert stat.S_IMODE(world.folder.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in world.folder.iterdir()}
    assert {"sessions.db", "sessions.db-wal", "sessions.db-shm", "lock"} <= set(files)
    assert set(files.values()) == {0o600}


async def test_files_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    Store.open(tmp_path / "s").close()
    (tmp_path / "s").chmod(0o755)
    (tmp_path / "s" / "sessions.db").chmod(0o644)
    Store.open(tmp_path / "s").close()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "s" / "sessions.db").stat().st_mode) == 0o600


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(StoreError, match="another process"):
        Store.open(tmp_path)
    store.close()
    Store.open(tmp_path).close()


def test_a_newer_version_is_refused_and_named(tmp_path: Path) -> None:
    newer = (*MIGRATIONS, "CREATE TABLE later (x)")
    Store.open(tmp_path, migrations=newer).close()
    with pytest.raises(StoreError, match=rf"format {len(newer)}; this one reads up to {len(MIGRATIONS)}"):
        Store.open(tmp_path)


async def test_an_older_version_is_migrated_with_what_it_holds(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await store.commit(lambda tx: tx.put_session(put("old")))
    store.close()
    store = Store.open(tmp_path, migrations=(*MIGRATIONS, "CREATE TABLE later (x); CREATE INDEX i ON later (x)"))
    assert (await store.read(lambda reader: reader.session("a", "sess_old", 1.0))).id == "sess_old"
    store.close()


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sessions.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        Store.open(tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="can't be read"):
        Store.open(tmp_path)


DAMAGE = {
    "a token": ("turns", "UPDATE turns SET output_ids = x'04000000' WHERE seq = 1"),
    "a text": ("turns", "UPDATE turns SET messages = '[]' WHERE seq = 1"),
    "a missing turn": ("turns", "DELETE FROM turns WHERE seq = 1"),
    "a state": ("turns", "UPDATE turns SET state = 'half' WHERE seq = 1"),
    "a kind of cell": ("turns", "UPDATE turns SET kept_len = 'x' WHERE seq = 1"),
    "a session": ("sessions", "UPDATE sessions SET head = NULL WHERE seq = 1"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_row_fails_its_session_and_no_other(world: World, damage: str) -> None:
    bad, good = await world.sessions.create("a"), await world.sessions.create("a")
    await world.say(bad.id)
    await world.say(bad.id)
    await world.say(good.id)
    await world.sessions.close()
    connection = connect(world.folder / "sessions.db")
    connection.execute(DAMAGE[damage][1])
    connection.close()
    world.sessions = await Sessions.open(world.folder, clock=world.clock)
    with pytest.raises(CorruptError):
        await world.sessions.path("a", bad.id)
    await world.say(good.id)
    assert good.id in [session.id for session in (await world.sessions.list("a")).items]
    assert world.sessions.failure is None
    await world.sessions.delete("a", bad.id)
    assert [session.id for session in (await world.sessions.list("a")).items] == [good.id]


async def test_damaged_pages_fail_what_lies_in_them_and_nothing_else(tmp_path: Path) -> None:
    sessions = await Sessions.open(tmp_path)
    ids = []
    for number in range(40):
        session = await sessions.create("a")
        draft = Draft(None, None, (user(f"text {number} " * 500),))
        begun = await sessions.begin("a", session.id, draft)
        await sessions.complete("a", begun.turn.id, Completion(assistant("hi"), (1,), "stop"))
        ids.append(session.id)
    await sessions.close()
    database = tmp_path / "sessions.db"
    content = bytearray(database.read_bytes())
    at = content.index(b"text 20 " * 20) + 20
    content[at : at + 64] = b"\xff" * 64
    database.write_bytes(content)
    sessions = await Sessions.open(tmp_path)
    failed = []
    for session_id in ids:
        try:
            await sessions.path("a", session_id)
        except CorruptError:
            failed.append(session_id)
    assert failed == [ids[20]]
    await sessions.close()


async def test_a_full_disk_makes_the_store_read_only_and_acknowledges_nothing(tmp_path: Path) -> None:
    def small(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    sessions = await Sessions.over(Store.open(tmp_path, connect=small))
    session = await sessions.create("a")
    begun = await sessions.begin("a", session.id, Draft(None, None, (user("small"),)))
    turn = await sessions.complete("a", begun.turn.id, Completion(assistant("hi"), (1,), "stop"))
    assert sessions.failure is None
    with pytest.raises(ReadOnlyError, match="SQLITE_FULL"):
        await sessions.begin("a", session.id, Draft(turn.id, turn.id, (user("x" * 1_000_000),)))
    assert sessions.failure == "SQLITE_FULL"
    with pytest.raises(ReadOnlyError):
        await sessions.create("a")
    assert (await sessions.path("a", session.id)).tip == turn
    await sessions.close()
    sessions = await Sessions.open(tmp_path)
    assert (await sessions.path("a", session.id)).tip == turn
    assert (await sessions.get("a", session.id)).running is None
    await sessions.close()
