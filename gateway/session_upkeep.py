"""What is done for sessions beside their turns: the store opened, what has expired deleted, the engine told of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from espalier.engine.messages import Forget
from espalier.gateway.engine_client import EngineClient
from espalier.gateway.log import Log
from espalier.gateway.options import GatewayOptions
from espalier.gateway.session_lease import session_key
from espalier.gateway.setting import SettingError
from espalier.sessions import Removed, Sessions
from espalier.sessions.errors import LockedError, SessionError, StoreError

SWEEP_EVERY_S = 60.0
_LOG = Log("sessions")


def sessions_folder(options: GatewayOptions, environment: Mapping[str, str]) -> Path:
    """Where sessions are stored: below data_dir, else below the user's data."""
    if options.data_dir is not None:
        return options.data_dir / "sessions"
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "espalier" / "sessions"


@asynccontextmanager
async def kept_sessions(options: GatewayOptions, client: EngineClient) -> AsyncGenerator[Sessions | None, None]:
    """The store, kept up and at last closed. Raises SettingError where it can't be opened.

    None where no data_dir was chosen and another server has the user's open: that one keeps the sessions.
    """
    sessions = await _opened(options)
    if sessions is None:
        yield None
        return
    upkeep = asyncio.create_task(keep_up(sessions, client), name="sessions")
    try:
        yield sessions
    finally:
        upkeep.cancel()
        await asyncio.wait({upkeep})
        await sessions.close()


async def _opened(options: GatewayOptions) -> Sessions | None:
    folder = sessions_folder(options, os.environ)
    try:
        return await Sessions.open(folder, ttl_s=options.session_ttl_s)
    except StoreError as error:
        if isinstance(error, LockedError) and options.data_dir is None:
            _LOG.warning("no_sessions", reason=str(error))
            return None
        raise SettingError(f"{folder}: {error}") from None


def forget(client: EngineClient, removed: Removed) -> None:
    """Have the engine drop the state of what was deleted."""
    for tip in removed.tips:
        key = session_key(tip.tenant, tip.session_id) if tip.session_id in removed.session_ids else ""
        client.note(Forget(tip.tenant, tip.cache_salt, list(tip.token_ids), key))


async def keep_up(sessions: Sessions, client: EngineClient, every_s: float = SWEEP_EVERY_S) -> None:
    """Delete what has expired and store what was learnt, for ever; a store that takes no writes is tried again."""
    while True:
        try:
            removed = await sessions.sweep()
            forget(client, removed)
            if removed.session_ids:
                _LOG.info("sessions_expired", sessions=len(removed.session_ids), turns=len(removed.turn_ids))
            await sessions.store_waits()
        except SessionError as error:
            _LOG.warning("upkeep_failed", code=error.code, reason=str(error))
        await asyncio.sleep(every_s)
