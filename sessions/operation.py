"""What each change of sessions does inside a transaction: read, let `lifecycle` decide, write.

Each is a function of the transaction alone once its other arguments are bound; nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from espalier.sessions import lifecycle
from espalier.sessions.errors import (
    BusyError,
    CorruptError,
    IdempotencyConflictError,
    NameTakenError,
    NotFoundError,
    TurnMismatchError,
)
from espalier.sessions.session import PREFIXES, Kind, Session
from espalier.sessions.store.reader import Reader
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.turn import Completion, Draft, Idempotency, Record, Turn
from espalier.sessions.value import JsonObject, new_id

Branch = Literal["rollback", "fork"]


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that runs now, or, with `is_replay`, the one that the idempotency key has opened before."""

    turn: Turn
    session: Session
    is_replay: bool = False
    parent: Turn | None = None


def create(
    tx: Transaction, tenant: str, kind: Kind, name: str | None, metadata: JsonObject, ttl_s: float | None, now: float
) -> Session:
    """Make a session. Raises NameTakenError."""
    _check_name(tx, tenant, name, now)
    session = Session(new_id(PREFIXES[kind]), tenant, kind, now, now, name, ttl_s, metadata=metadata)
    tx.put_session(session)
    return session


def named(tx: Transaction, tenant: str, name: str, ttl_s: float | None, now: float) -> Session:
    """The session of that name, made if there is none."""
    known = tx.named(tenant, name)
    if known is not None and not known.is_expired(now):
        return known
    return create(tx, tenant, "session", name, {}, ttl_s, now)


def update(
    tx: Transaction, tenant: str, session_id: str, metadata: JsonObject | None, ttl_s: float | None, now: float
) -> Session:
    """Change what is given, and count as a use."""
    session = tx.session(tenant, session_id, now)
    session = replace(
        session,
        metadata=session.metadata if metadata is None else metadata,
        ttl_s=session.ttl_s if ttl_s is None else ttl_s,
        updated_at=now,
    )
    tx.put_session(session)
    return session


def begin(
    tx: Transaction, tenant: str, session_id: str, draft: Draft, if_match: str | None, branch: Branch, now: float
) -> Begun:
    """Open a turn, or find the one that its key has opened."""
    if draft.idempotency is not None and (known := replay(tx, tenant, draft.idempotency, now)) is not None:
        return Begun(known, tx.owner(known), is_replay=True)
    session = tx.session(tenant, session_id, now)
    if if_match is not None and session.head != if_match:
        raise TurnMismatchError(if_match, session.head)
    parent = None if draft.parent is None else member(tx, session, draft.parent)
    if branch == "fork" and (
        session.running is not None or session.head != draft.parent or session.kind == "conversation"
    ):
        session = _branched(session, draft.parent, now)
    elif session.running is None and session.head != draft.seen_head and branch == "rollback":
        # Another turn began and ended since the history was read.
        raise BusyError(session.head or "", retry_after_s=0.0)
    session, turn = lifecycle.begin(session, draft, parent, new_id("turn"), now)
    tx.put_session(session)
    tx.put_turn(turn)
    tx.put_record(turn.id, Record(draft.request))
    return Begun(turn, session, parent=parent)


def replay(reader: Reader, tenant: str, idempotency: Idempotency, now: float) -> Turn | None:
    """The turn that a key has opened, None if there is none. Raises IdempotencyConflictError."""
    known = reader.by_key(tenant, idempotency.key)
    if known is None or known.idempotency is None or reader.owner(known).is_expired(now):
        return None
    if known.idempotency.body_digest != idempotency.body_digest:
        raise IdempotencyConflictError
    return known


def complete(tx: Transaction, tenant: str, turn_id: str, completion: Completion, now: float) -> Turn:
    """Close a running turn with its answer."""
    turn = _existing(tx, tenant, turn_id)
    session, turn = lifecycle.complete(tx.owner(turn), turn, completion, now)
    tx.put_session(session)
    tx.put_turn(turn)
    request = tx.record(turn_id).request
    tx.put_record(turn_id, Record(request, completion.response, completion.events))
    return turn


def interrupt(
    tx: Transaction, tenant: str, turn_id: str, now: float, response: bytes = b"", events: tuple[bytes, ...] = ()
) -> Turn:
    """Give a running turn up; one that has ended stays as it is."""
    turn = _existing(tx, tenant, turn_id)
    if turn.state != "running":
        return turn
    session, turn = lifecycle.interrupt(tx.owner(turn), turn, now)
    tx.put_session(session)
    tx.put_turn(turn)
    if response or events:
        tx.put_record(turn_id, Record(tx.record(turn_id).request, response, events))
    return turn


def append(tx: Transaction, tenant: str, session_id: str, draft: Draft, now: float) -> Turn:
    """Add messages without an answer at the head; parent and seen_head of the draft don't matter."""
    session = tx.session(tenant, session_id, now)
    parent = None if session.head is None else member(tx, session, session.head)
    session, turn = lifecycle.append(session, replace(draft, parent=session.head), parent, new_id("turn"), now)
    tx.put_session(session)
    tx.put_turn(turn)
    tx.put_record(turn.id, Record(draft.request))
    return turn


def rollback(tx: Transaction, tenant: str, session_id: str, to: str | None, now: float) -> Session:
    """Move the head back, or to another branch."""
    session = tx.session(tenant, session_id, now)
    turn = None if to is None else member(tx, session, to)
    session = lifecycle.rollback(session, None if turn is None else turn.id, now)
    tx.put_session(session)
    return session


def fork(tx: Transaction, tenant: str, session_id: str, at: str | None, name: str | None, now: float) -> Session:
    """A new session that goes on at the head, or at a turn. Raises NameTakenError."""
    session = tx.session(tenant, session_id, now)
    _check_name(tx, tenant, name, now)
    turn_id = session.head if at is None else member(tx, session, at).id
    forked = replace(lifecycle.fork(session, turn_id, new_id(PREFIXES[session.kind]), now), name=name)
    tx.put_session(forked)
    return forked


def member(reader: Reader, session: Session, ref: str) -> Turn:
    """A complete turn of a session's tree, the turns before its base included. Raises NotFoundError."""
    turn = reader.find(session.tenant, ref)
    if turn is None or turn.state != "complete":
        raise NotFoundError("complete turn of this session", ref)
    # Where it is the session's own, or where it stands, that is seen at once; else it has to lead to the base.
    if turn.session_id != session.id and turn.id not in (session.head, session.base):
        before = () if session.base is None else reader.path(session.base)
        if all(turn.id != one.id for one in before):
            raise NotFoundError("complete turn of this session", ref)
    return turn


def interrupt_all(tx: Transaction, now: float) -> int:
    """On start: what ran when the process ended is interrupted. A damaged session stays as it is."""
    count = 0
    for tenant, turn_id in tx.running():
        try:
            interrupt(tx, tenant, turn_id, now)
            count += 1
        except CorruptError:
            continue
    return count


def _branched(session: Session, at: str | None, now: float) -> Session:
    """A session that goes on beside this one. Beside a conversation it is a chain, which goes with its responses."""
    if session.kind != "conversation":
        return lifecycle.fork(session, at, new_id(PREFIXES[session.kind]), now)
    chain = lifecycle.fork(session, at, new_id(PREFIXES["response"]), now)
    return replace(chain, kind="response", metadata={})


def _check_name(tx: Transaction, tenant: str, name: str | None, now: float) -> None:
    """Raise NameTakenError, unless the session that has the name has expired: that one loses it, and is swept."""
    known = None if name is None else tx.named(tenant, name)
    if known is None:
        return
    if not known.is_expired(now):
        raise NameTakenError(known.name or "")
    tx.put_session(replace(known, name=None))


def _existing(tx: Transaction, tenant: str, turn_id: str) -> Turn:
    turn = tx.find(tenant, turn_id)
    if turn is None:
        raise NotFoundError("turn", turn_id)
    return turn
