"""A session as one JSON text, to be kept elsewhere or loaded into another store.

It holds every turn that the session has or continues, with tokens and records, and a digest of all that. Loaded, the
session and its turns get new ids, for ids are never chosen by who asks; a response's id stays where it is free.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from espalier.sessions.errors import InvalidArchiveError
from espalier.sessions.session import PREFIXES, Session
from espalier.sessions.store.reader import Reader
from espalier.sessions.store.transaction import Transaction
from espalier.sessions.turn import Mark, Record, State, Turn
from espalier.sessions.value import JsonObject, digest, new_id

T = TypeVar("T")
Check = Callable[[JsonObject], object]
FORMAT = "espalier-session-1"
_ALL = 2**31


Ids = tuple[Annotated[int, Meta(ge=0, le=2**32 - 1)], ...]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Ttl = Annotated[float, Meta(ge=1e-3)]


class _ArchivedMark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    length: Count
    digest: bytes
    num_ends: Count
    vocabulary: bytes = b""


class _ArchivedTurn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    parent: str | None
    state: State
    created_at: float
    ended_at: float | None
    messages: str  # JSON in JSON: integers in calls may have any size, which only the standard library reads
    answer: str | None
    finish_reason: str | None
    context_len: int
    kept_len: int
    prompt_ids: Ids
    output_ids: Ids
    mark: _ArchivedMark | None
    response_id: str | None
    cache_salt: str
    is_background: bool
    is_hidden: bool
    request: bytes
    response: bytes
    events: tuple[bytes, ...]


class _Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["session"]
    ttl_s: Ttl | None
    head: str | None
    metadata: str
    turns: tuple[_ArchivedTurn, ...]


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    digest: str
    session: msgspec.Raw


def export(reader: Reader, tenant: str, session_id: str, now: float) -> bytes:
    """A session as JSON. Raises NotFoundError, CorruptError."""
    session = reader.session(tenant, session_id, now)
    own = reader.turns(session, limit=_ALL, after=None, order="asc", hidden=True)
    before = [turn for turn in reader.path(session.base) if turn.session_id != session.id]
    turns = tuple(_archived(reader, turn) for turn in (*before, *own) if turn.state != "running")
    assert session.kind == "session"
    body = msgspec.json.encode(_Archive(session.kind, session.ttl_s, session.head, json.dumps(session.metadata), turns))
    return msgspec.json.encode(_Envelope(FORMAT, _digest(body), msgspec.Raw(body)))


def load(tx: Transaction, tenant: str, data: bytes, now: float, check: Check) -> Session:
    """Write a session that was exported. `check` refuses messages by a ValueError. Raises InvalidArchiveError."""
    archive = _read(data)
    metadata = _object(_parsed(archive.metadata, dict))
    session = Session(
        new_id(PREFIXES[archive.kind]), tenant, archive.kind, now, now, ttl_s=archive.ttl_s, metadata=metadata
    )
    ids: dict[str | None, str | None] = {None: None}
    lens: dict[str | None, int] = {None: 0}
    for one in archive.turns:
        if one.parent not in ids or one.id in ids or not 0 <= one.kept_len <= lens[one.parent]:
            raise InvalidArchiveError(f"turn {one.id[:64]!r} of the archive does not continue what stands before it")
        turn = _turn(tx, one, tenant, session.id, ids[one.parent])
        _check_messages(turn, check)
        ids[one.id], lens[one.id] = turn.id, turn.context_len
        tx.put_turn(turn)
        tx.put_record(turn.id, Record(one.request, one.response, one.events))
    complete = {one.id for one in archive.turns if one.state == "complete"}
    if archive.head is not None and archive.head not in complete:
        raise InvalidArchiveError("the archive's head is none of its complete turns")
    session = replace(session, head=ids[archive.head])
    tx.put_session(session)
    return session


def _read(data: bytes) -> _Archive:
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        body = bytes(envelope.session)
        if envelope.format != FORMAT:
            raise InvalidArchiveError(f"the archive's format is {envelope.format[:64]!r}; {FORMAT!r} is read here")
        if _digest(body) != envelope.digest:
            raise InvalidArchiveError("the archive is damaged: its digest is not that of its content")
        archive = msgspec.json.decode(body, type=_Archive)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidArchiveError(f"this is no exported session: {error}") from None
    if any(one.state == "running" for one in archive.turns):
        raise InvalidArchiveError("the archive holds a running turn")
    return archive


def _archived(reader: Reader, turn: Turn) -> _ArchivedTurn:
    record = reader.record(turn.id)
    return _ArchivedTurn(
        id=turn.id,
        parent=turn.parent,
        state=turn.state,
        created_at=turn.created_at,
        ended_at=turn.ended_at,
        messages=json.dumps(turn.messages),
        answer=None if turn.answer is None else json.dumps(turn.answer),
        finish_reason=turn.finish_reason,
        context_len=turn.context_len,
        kept_len=turn.kept_len,
        prompt_ids=turn.prompt_ids,
        output_ids=turn.output_ids,
        mark=None if turn.mark is None else _ArchivedMark(**asdict(turn.mark)),
        response_id=turn.response_id,
        cache_salt=turn.cache_salt,
        is_background=turn.is_background,
        is_hidden=turn.is_hidden,
        request=record.request,
        response=record.response,
        events=record.events,
    )


def _turn(tx: Transaction, one: _ArchivedTurn, tenant: str, session_id: str, parent: str | None) -> Turn:
    taken = one.response_id is not None and tx.has_response(one.response_id)
    return Turn(
        id=new_id("turn"),
        session_id=session_id,
        tenant=tenant,
        parent=parent,
        state=one.state,
        created_at=one.created_at,
        ended_at=one.ended_at,
        messages=tuple(_object(message) for message in _parsed(one.messages, list)),
        answer=None if one.answer is None else _object(_parsed(one.answer, dict)),
        finish_reason=one.finish_reason,
        context_len=one.kept_len + len(one.prompt_ids) + len(one.output_ids),
        kept_len=one.kept_len,
        prompt_ids=one.prompt_ids,
        output_ids=one.output_ids,
        mark=None if one.mark is None else Mark(**msgspec.structs.asdict(one.mark)),
        response_id=None if taken else one.response_id,
        cache_salt=one.cache_salt,
        is_background=one.is_background,
        is_hidden=one.is_hidden,
    )


def _check_messages(turn: Turn, check: Check) -> None:
    try:
        for message in (*turn.messages, *([turn.answer] if turn.answer is not None else [])):
            check(message)
    except ValueError as error:
        raise InvalidArchiveError(f"the archive holds a message that can't be read: {error}") from None


def _parsed(text: str, kind: type[T]) -> T:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # no halves of characters
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise InvalidArchiveError(f"the archive holds {text[:64]!r} where a JSON {kind.__name__} is needed")
    return value


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise InvalidArchiveError(f"the archive holds {value!r:.64} where a message is needed")
    return value


def _digest(body: bytes) -> str:
    return digest(body).hex()
