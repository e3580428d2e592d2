"""What may happen to a session and its turns. Pure: values in, values out; ids and time are arguments.

    absent -- begin --> running -- complete --> complete
                           '----- interrupt --> interrupted

Everything that changes a state lives here. A session has at most one running turn, and its head is always a complete
turn of its tree, or None: a half turn is never anyone's history.
"""

from __future__ import annotations

from dataclasses import replace

from espalier.sessions.errors import BusyError, TurnEndedError
from espalier.sessions.session import Session
from espalier.sessions.turn import Completion, Draft, Turn


def begin(session: Session, draft: Draft, parent: Turn | None, turn_id: str, now: float) -> tuple[Session, Turn]:
    """Open a turn after `parent`. Raises BusyError."""
    if session.running is not None:
        raise BusyError(session.running)
    parent_len = 0 if parent is None else parent.context_len
    if not 0 <= draft.kept_len <= parent_len:
        raise ValueError(f"kept_len is {draft.kept_len}, of a context of {parent_len} tokens")
    turn = Turn(
        id=turn_id,
        session_id=session.id,
        tenant=session.tenant,
        parent=draft.parent,
        state="running",
        created_at=now,
        messages=draft.messages,
        context_len=draft.kept_len + len(draft.prompt_ids),
        kept_len=draft.kept_len,
        prompt_ids=draft.prompt_ids,
        mark=draft.mark,
        response_id=draft.response_id,
        idempotency=draft.idempotency,
        cache_salt=draft.cache_salt,
        is_background=draft.is_background,
    )
    return replace(session, running=turn_id, updated_at=now), turn


def complete(session: Session, turn: Turn, completion: Completion, now: float) -> tuple[Session, Turn]:
    """Close a running turn; it is the head now. Raises TurnEndedError."""
    _check_running(turn)
    done = replace(
        turn,
        state="complete",
        ended_at=now,
        answer=completion.answer,
        output_ids=completion.output_ids,
        finish_reason=completion.finish_reason,
        context_len=turn.prompt_len + len(completion.output_ids),
    )
    return replace(session, running=None, head=turn.id, updated_at=now), done


def interrupt(session: Session, turn: Turn, now: float) -> tuple[Session, Turn]:
    """Give a running turn up; the head stays where it was. Raises TurnEndedError."""
    _check_running(turn)
    # The key is free again: who sends the request once more gets an answer to it.
    ended = replace(turn, state="interrupted", ended_at=now, idempotency=None)
    return replace(session, running=None, updated_at=now), ended


def append(session: Session, draft: Draft, parent: Turn | None, turn_id: str, now: float) -> tuple[Session, Turn]:
    """Add messages without an answer, as a complete turn that adds no tokens. Raises BusyError."""
    kept_len = 0 if parent is None else parent.context_len
    session, turn = begin(session, replace(draft, kept_len=kept_len), parent, turn_id, now)
    return complete(session, turn, Completion(None), now)


def rollback(session: Session, to: str | None, now: float) -> Session:
    """Move the head to a complete turn of this session's tree, or to its beginning. Raises BusyError."""
    if session.running is not None:
        raise BusyError(session.running)
    return replace(session, head=to, updated_at=now)


def fork(session: Session, at: str | None, new_id: str, now: float) -> Session:
    """A session of the same kind that continues at a turn of this one; nothing is copied."""
    return replace(session, id=new_id, name=None, created_at=now, updated_at=now, head=at, running=None, base=at)


def forgotten(turn: Turn) -> Turn:
    """The turn without its tokens, as after an edit: the next turn is rendered from text."""
    return replace(turn, kept_len=0, prompt_ids=(), output_ids=(), mark=None, context_len=0)


def _check_running(turn: Turn) -> None:
    if turn.state != "running":
        raise TurnEndedError(turn.id, turn.state)
