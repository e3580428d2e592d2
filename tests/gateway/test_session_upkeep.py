"""The store as the server keeps it: where it lies, who may have it, and that what has expired goes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from espalier.engine.messages import Forget
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import ScriptedClient
from espalier.gateway.session_upkeep import keep_up, kept_sessions, sessions_folder
from espalier.gateway.setting import SettingError
from espalier.sessions import Completion, Draft, JsonObject, Sessions
from espalier.sessions.store import Store
from espalier.sessions.store.migration import MIGRATIONS

pytestmark = pytest.mark.anyio


def test_sessions_lie_in_data_dir_else_with_the_users_data(tmp_path: Path) -> None:
    assert sessions_folder(GatewayOptions(data_dir=tmp_path), {}) == tmp_path / "sessions"
    assert sessions_folder(GatewayOptions(), {"XDG_DATA_HOME": "/data"}) == Path("/data/espalier/sessions")
    assert sessions_folder(GatewayOptions(), {}) == Path.home() / ".local" / "share" / "espalier" / "sessions"


async def test_a_server_has_its_data_dir_alone(tmp_path: Path) -> None:
    options = GatewayOptions(data_dir=tmp_path)
    async with kept_sessions(options, ScriptedClient()) as sessions:
        assert sessions is not None
        with pytest.raises(SettingError, match="another process"):
            async with kept_sessions(options, ScriptedClient()):
                pass
    async with kept_sessions(options, ScriptedClient()) as sessions:
        assert sessions is not None


async def test_a_second_server_without_data_dir_runs_without_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with (
        kept_sessions(GatewayOptions(), ScriptedClient()) as first,
        kept_sessions(GatewayOptions(), ScriptedClient()) as second,
    ):
        assert first is not None and second is None


async def test_a_store_of_a_newer_version_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    Store.open(tmp_path / "sessions", migrations=(*MIGRATIONS, "CREATE TABLE later (x)")).close()
    with pytest.raises(SettingError, match="newer version"):
        async with kept_sessions(GatewayOptions(data_dir=tmp_path), ScriptedClient()):
            pass


async def test_what_has_expired_goes_from_the_store_and_from_the_engine(tmp_path: Path) -> None:
    now = 0.0
    sessions, client = await Sessions.open(tmp_path, clock=lambda: now, ttl_s=10.0), ScriptedClient()
    session = await sessions.create("a")
    begun = await sessions.begin("a", session.id, Draft(None, None, (), prompt_ids=(1, 2)))
    await sessions.complete("a", begun.turn.id, Completion(None, (3,)))
    now = 11.0
    upkeep = asyncio.create_task(keep_up(sessions, client, every_s=0.0))
    for _ in range(100_000):
        if client.notes:
            break
        await asyncio.sleep(0)
    upkeep.cancel()
    await asyncio.wait({upkeep})
    assert client.notes == [Forget("a", "", [1, 2, 3], f"a/{session.id}")]
    assert (await sessions.list("a")).items == ()
    await sessions.close()


async def test_what_was_learnt_of_tools_is_stored_meanwhile(tmp_path: Path) -> None:
    sessions = await Sessions.open(tmp_path / "sessions")
    session = await sessions.create("a")
    call: JsonObject = {"id": "c", "type": "function", "function": {"name": "find", "arguments": {}}}
    first = (await sessions.begin("a", session.id, Draft(None, None, ()))).turn
    await sessions.complete("a", first.id, Completion({"role": "assistant", "content": "", "tool_calls": [call]}))
    result: JsonObject = {"role": "tool", "tool_call_id": "c", "content": "done"}
    await sessions.begin("a", session.id, Draft(first.id, first.id, (result,)))
    upkeep = asyncio.create_task(keep_up(sessions, ScriptedClient(), every_s=0.0))
    connection = sqlite3.connect(tmp_path / "sessions" / "sessions.db")
    for _ in range(100_000):
        if connection.execute("SELECT count(*) FROM waits").fetchone() == (1,):
            break
        await asyncio.sleep(0)
    else:
        pytest.fail("nothing was stored")
    connection.close()
    upkeep.cancel()
    await asyncio.wait({upkeep})
    await sessions.close()
