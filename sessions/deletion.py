"""Deleting inside a transaction: sessions, single turns, what a turn said. `removal` decides what goes.

What is deleted is overwritten, and gone from the log once the writer has scrubbed. The answer names the branches whose
attention state is to be dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from espalier.sessions import lifecycle, removal
from espalier.sessions.errors import BusyError, CorruptError, NotFoundError
from espalier.sessions.path import context
from espalier.sessions.removal import DroppedTip, Removed
from espalier.sessions.session import PREFIXES
from espalier.sessions.store.reader import Reader
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.turn import Record, Turn
from espalier.sessions.value import JsonObject


def delete(tx: Transaction, tenant: str, session_id: str) -> Removed:
    """Delete a session, with the turns that no other session continues.

    Those of a conversation that others continue were deleted with it all the same: they go with the last of these.
    """
    if not tx.has_session(tenant, session_id):
        raise NotFoundError("session", session_id)
    parents = tx.parents(session_id)
    parted = removal.split(parents, tx.bases(session_id))
    dropped = _tips(tx, tenant, session_id, removal.tips(parents, parted.gone), parted.gone)
    tx.adopt(parted.adopted, hides=session_id.startswith(f"{PREFIXES['conversation']}_"))
    tx.delete_turns(parted.gone)
    tx.delete_session(session_id)
    return Removed((session_id,), tuple(turn for turn in parents if turn in parted.gone), dropped)


def delete_turn(tx: Transaction, tenant: str, ref: str, now: float) -> Removed:
    """Delete a turn: at once where nothing continues it, else it is hidden until nothing does. Raises BusyError.

    A conversation goes on with what its last turn said, as it does with the others'.
    """
    turn = tx.turn(tenant, ref, now)
    if turn.state == "running":
        raise BusyError(turn.id)
    session = tx.owner(turn)
    if tx.is_continued(turn.id) or (session.kind == "conversation" and session.head == turn.id):
        tx.hide(turn)
        return Removed()
    removed = Removed()
    # What was hidden before it goes with it, if nothing else continues that.
    at: Turn | None = turn
    while at is not None and (at is turn or (at.is_hidden and not tx.is_continued(at.id))):
        removed += _delete_leaf(tx, at)
        at = None if at.parent is None else tx.find(tenant, at.parent)
    return removed


def edit(
    tx: Transaction,
    tenant: str,
    ref: str,
    messages: Sequence[JsonObject],
    answer: JsonObject | None,
    record: Record,
    now: float,
) -> Removed:
    """Replace a turn's messages and answer; the tokens of it and of all that continue it are forgotten."""
    turn = tx.find(tenant, ref)  # a hidden one, too: those that continue it are still told what it says
    if turn is None or tx.owner(turn).is_expired(now):
        raise NotFoundError("turn", ref)
    below = tx.below(turn.id)
    for one in below:
        if one.state == "running":
            raise BusyError(one.id)
    gone = frozenset(one.id for one in below)
    parents = {one.id: one.parent for one in below}
    dropped = _tips(tx, tenant, turn.session_id, removal.tips(parents, gone), gone)
    for one in below:
        told = replace(one, messages=tuple(messages), answer=answer) if one.id == turn.id else one
        tx.put_turn(lifecycle.forgotten(told))
    tx.put_record(turn.id, record)
    return Removed(tips=dropped)


def sweep(tx: Transaction, now: float, limit: int) -> Removed:
    """Delete up to `limit` sessions that have expired."""
    removed = Removed()
    for tenant, session_id in tx.expired(now)[:limit]:
        removed += delete(tx, tenant, session_id)
    return removed


def _delete_leaf(tx: Transaction, turn: Turn) -> Removed:
    dropped = _tips(tx, turn.tenant, turn.session_id, [turn.id], frozenset({turn.id}))
    session = tx.owner(turn)
    tx.delete_turns([turn.id])
    if session.head == turn.id:
        tx.put_session(session := replace(session, head=turn.parent))
    # A chain without responses is nobody's, and must not keep the turn at which it was forked.
    if session.kind == "response" and not tx.parents(session.id):
        tx.delete_session(session.id)
        return Removed((session.id,), (turn.id,), dropped)
    return Removed((), (turn.id,), dropped)


def _tips(
    reader: Reader, tenant: str, session_id: str, turn_ids: Sequence[str], gone: frozenset[str]
) -> tuple[DroppedTip, ...]:
    """The contexts that end in `turn_ids`; of a damaged history nothing can be said."""
    found: list[DroppedTip] = []
    for turn_id in turn_ids:
        try:
            path = reader.path(turn_id)
        except CorruptError:
            continue
        kept = [turn for turn in path if turn.id not in gone]
        first = next((turn for turn in path if turn.id in gone), path[-1])
        shared_len = min(first.kept_len, len(context(kept)))
        found.append(DroppedTip(tenant, session_id, path[-1].cache_salt, tuple(context(path)), shared_len))
    return tuple(found)
