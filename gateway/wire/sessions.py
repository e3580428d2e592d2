"""Requests and answers of /v1/sessions. Times are seconds since 1970."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from espalier.gateway.wire.requests import MAX_SESSION_ID
from espalier.gateway.wire.responses import Metadata
from espalier.sessions import Session, Turn

Name = Annotated[str, Meta(min_length=1, max_length=MAX_SESSION_ID)]
# Not gt=0: msgspec makes the smallest denormal of that, and a process that flushes denormals, as one with an engine
# does, takes zero for it.
SHORTEST_S = 1e-3
Ttl = Annotated[float, Meta(ge=SHORTEST_S, le=10 * 365 * 86400)]


class CreateSession(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sessions; `ttl_s` is how long it lives without use."""

    name: Name | None = None
    metadata: Metadata = field(default_factory=dict)
    ttl_s: Ttl | None = None


class UpdateSession(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sessions/{id}."""

    metadata: Metadata | None = None
    ttl_s: Ttl | None = None


class ForkSession(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sessions/{id}/fork: at a turn or response, or where the session stands."""

    at: str | None = None
    name: Name | None = None


class RollBackSession(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sessions/{id}/rollback: to a turn or response; null is the session's beginning."""

    to: str | None


class LeaseSession(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/sessions/{id}/lease: keep its state warm for so long, sessions of higher priority before others."""

    ttl_s: Annotated[float, Meta(ge=SHORTEST_S, le=3600)] = 600.0
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0


class Lease(Struct, frozen=True):
    """What was asked of the engine; it keeps to its budgets all the same."""

    id: str
    ttl_s: float
    priority: int
    object: Literal["session.lease"] = "session.lease"


class SessionObject(Struct, frozen=True):
    """A session. `head` is its latest turn, `running` the one that is being made, `forked_at` where it was forked."""

    id: str
    name: str | None
    created_at: int
    updated_at: int
    expires_at: int | None
    head: str | None
    running: str | None
    forked_at: str | None
    metadata: dict[str, Any]
    object: Literal["session"] = "session"


class TurnObject(Struct, frozen=True):
    """A turn: new messages and the answer to them, as chat templates read them; `context_tokens` with all before it."""

    id: str
    session_id: str
    parent: str | None
    state: Literal["running", "interrupted", "complete"]
    created_at: int
    ended_at: int | None
    response_id: str | None
    messages: list[dict[str, Any]]
    answer: dict[str, Any] | None
    finish_reason: str | None
    context_tokens: int
    answer_tokens: int
    object: Literal["session.turn"] = "session.turn"


class Deleted(Struct, frozen=True):
    """Answer of DELETE."""

    id: str
    object: Literal["session.deleted", "session.lease.deleted"]
    deleted: bool = True


class SessionPage(Struct, frozen=True):
    """Some sessions, or some turns."""

    data: list[SessionObject] | list[TurnObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def session_object(session: Session) -> SessionObject:
    """A session as it is told."""
    expires_at = session.expires_at
    return SessionObject(
        session.id,
        session.name,
        int(session.created_at),
        int(session.updated_at),
        None if expires_at is None else int(expires_at),
        session.head,
        session.running,
        session.base,
        session.metadata,
    )


def turn_object(turn: Turn) -> TurnObject:
    """A turn as it is told."""
    return TurnObject(
        turn.id,
        turn.session_id,
        turn.parent,
        turn.state,
        int(turn.created_at),
        None if turn.ended_at is None else int(turn.ended_at),
        turn.response_id,
        list(turn.messages),
        turn.answer,
        turn.finish_reason,
        turn.context_len,
        len(turn.output_ids),
    )
