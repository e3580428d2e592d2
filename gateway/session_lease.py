"""What the engine is told of sessions, so that the next turn is warm: whose a prompt is, and what waits for tools."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.engine.messages import Fork, Hold, Release
from espalier.gateway.engine_client import EngineClient
from espalier.sessions import Session, Sessions, Turn


def session_key(tenant: str, session_id: str) -> str:
    """What the engine calls a session."""
    return f"{tenant}/{session_id}"


def hold(client: EngineClient, sessions: Sessions, turn: Turn) -> None:
    """After a turn that ended in calls: have its state kept while the tools run, as long as that is worth it."""
    waits_s = sessions.waits_of(turn)
    if waits_s is not None:
        client.note(Hold(session_key(turn.tenant, turn.session_id), waits_s))


def hold_group(client: EngineClient, sessions: Sessions | None, tenant: str, group: str, called: Sequence[str]) -> None:
    """The same for requests that have a name together and no session; without a store nothing is known of tools."""
    client.note(Hold(group, () if sessions is None else sessions.waits_for(tenant, called)))


def lease(client: EngineClient, session: Session, ttl_s: float, priority: int) -> None:
    """Have a session's state kept at its client's wish, whatever it waits for."""
    client.note(Hold(session_key(session.tenant, session.id), (), priority, ttl_s, at_least_s=ttl_s))


def release(client: EngineClient, session: Session) -> None:
    """The state at the session's end is no more to be kept than others': it was rolled back."""
    client.note(Release(session_key(session.tenant, session.id)))


def fork(client: EngineClient, session: Session, forked: Session) -> None:
    """Another session goes on where this one stands."""
    client.note(Fork(session_key(session.tenant, session.id), session_key(forked.tenant, forked.id)))
