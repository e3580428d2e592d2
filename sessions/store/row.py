"""Values as rows and back. Each row carries a checksum of all its columns, so that a damaged one is noticed."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import msgspec

from espalier.sessions.errors import CorruptError
from espalier.sessions.session import Kind, Session
from espalier.sessions.turn import Idempotency, Mark, Record, State, Turn
from espalier.sessions.value import DIGEST_BYTES, digest
from espalier.sessions.wait import Learnt

_T = TypeVar("_T")
Cell: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Cell, ...]

SESSION_COLUMNS = "id tenant kind name created_at updated_at ttl_s head running base metadata".split()
TURN_COLUMNS = (
    "id session_id tenant parent state created_at ended_at response_id idempotency_key body_digest is_background "
    "is_hidden cache_salt finish_reason context_len kept_len mark_len mark_digest mark_ends messages answer "
    "prompt_ids output_ids"
).split()
RECORD_COLUMNS = "turn_id request response events".split()
WAIT_COLUMNS = "tool tenant learnt_at weights".split()


class _Session(msgspec.Struct, array_like=True):
    id: str
    tenant: str
    kind: Kind
    name: str | None
    created_at: float
    updated_at: float
    ttl_s: float | None
    head: str | None
    running: str | None
    base: str | None
    metadata: bytes


class _Turn(msgspec.Struct, array_like=True):
    id: str
    session_id: str
    tenant: str
    parent: str | None
    state: State
    created_at: float
    ended_at: float | None
    response_id: str | None
    idempotency_key: str | None
    body_digest: bytes | None
    is_background: int
    is_hidden: int
    cache_salt: str
    finish_reason: str | None
    context_len: int
    kept_len: int
    mark_len: int | None
    mark_digest: bytes | None
    mark_ends: int | None
    messages: bytes
    answer: bytes | None
    prompt_ids: bytes
    output_ids: bytes


def session_row(session: Session) -> Row:
    """Columns of a session, the checksum last. (SQLite gives whole REALs back as floats, so they go in as such.)"""
    return _sealed(
        (
            session.id,
            session.tenant,
            session.kind,
            session.name,
            float(session.created_at),
            float(session.updated_at),
            None if session.ttl_s is None else float(session.ttl_s),
            session.head,
            session.running,
            session.base,
            _json(session.metadata),
        )
    )


def session_of(row: Row) -> Session:
    """A session from its row. Raises CorruptError."""
    cells = _opened(row, f"session {row[0]!r}", _Session)
    return Session(
        id=cells.id,
        tenant=cells.tenant,
        kind=cells.kind,
        created_at=cells.created_at,
        updated_at=cells.updated_at,
        name=cells.name,
        ttl_s=cells.ttl_s,
        head=cells.head,
        running=cells.running,
        base=cells.base,
        metadata=json.loads(cells.metadata),
    )


def turn_row(turn: Turn) -> Row:
    """Columns of a turn, the checksum last."""
    key, mark = turn.idempotency, turn.mark
    return _sealed(
        (
            turn.id,
            turn.session_id,
            turn.tenant,
            turn.parent,
            turn.state,
            float(turn.created_at),
            None if turn.ended_at is None else float(turn.ended_at),
            turn.response_id,
            None if key is None else key.key,
            None if key is None else key.body_digest,
            int(turn.is_background),
            int(turn.is_hidden),
            turn.cache_salt,
            turn.finish_reason,
            turn.context_len,
            turn.kept_len,
            None if mark is None else mark.length,
            None if mark is None else mark.digest + mark.vocabulary,
            None if mark is None else mark.num_ends,
            _json(turn.messages),
            None if turn.answer is None else _json(turn.answer),
            _packed(turn.prompt_ids),
            _packed(turn.output_ids),
        )
    )


def turn_of(row: Row) -> Turn:
    """A turn from its row. Raises CorruptError."""
    cells = _opened(row, f"turn {row[0]!r} of session {row[1]!r}", _Turn)
    key, body = cells.idempotency_key, cells.body_digest
    return Turn(
        id=cells.id,
        session_id=cells.session_id,
        tenant=cells.tenant,
        parent=cells.parent,
        state=cells.state,
        created_at=cells.created_at,
        messages=tuple(json.loads(cells.messages)),
        context_len=cells.context_len,
        kept_len=cells.kept_len,
        prompt_ids=_unpacked(cells.prompt_ids),
        output_ids=_unpacked(cells.output_ids),
        mark=None if cells.mark_digest is None else _mark(cells, cells.mark_digest),
        answer=None if cells.answer is None else json.loads(cells.answer),
        finish_reason=cells.finish_reason,
        ended_at=cells.ended_at,
        response_id=cells.response_id,
        idempotency=None if key is None or body is None else Idempotency(key, body),
        cache_salt=cells.cache_salt,
        is_background=bool(cells.is_background),
        is_hidden=bool(cells.is_hidden),
    )


def _mark(cells: _Turn, digests: bytes) -> Mark:
    text, vocabulary = digests[:DIGEST_BYTES], digests[DIGEST_BYTES:]
    return Mark(cells.mark_len or 0, text, cells.mark_ends or 0, vocabulary)


def record_row(turn_id: str, record: Record) -> Row:
    """Columns of a caller's record, the checksum last. Events are many and alike, so they are compressed together."""
    events = zlib.compress(msgspec.msgpack.encode(record.events), 1) if record.events else b""
    return _sealed((turn_id, record.request, record.response, events))


def record_of(row: Row) -> Record:
    """A record from its row. Raises CorruptError."""
    _check(row, f"the record of turn {row[0]!r}")
    _, request, response, packed, _ = row
    assert isinstance(request, bytes) and isinstance(response, bytes) and isinstance(packed, bytes)
    events = msgspec.msgpack.decode(zlib.decompress(packed), type=tuple[bytes, ...]) if packed else ()
    return Record(request, response, events)


def wait_row(learnt: Learnt, now: float) -> Row:
    """Columns of what was learnt of a tool, the checksum last."""
    return _sealed((learnt.tool, learnt.tenant, float(now), msgspec.msgpack.encode(learnt.weights)))


def wait_of(row: Row) -> Learnt:
    """What was learnt of a tool, from its row. Raises CorruptError."""
    _check(row, "what was learnt of a tool")
    tool, tenant, _, weights, _ = row
    assert isinstance(tool, bytes) and isinstance(tenant, bytes) and isinstance(weights, bytes)
    return Learnt(tenant, tool, msgspec.msgpack.decode(weights, type=tuple[float, ...]))


def checksum(cells: Sequence[Cell]) -> bytes:
    """A digest of cells in which kinds and borders count."""
    return digest(msgspec.msgpack.encode(cells))


def _json(value: object) -> bytes:
    """As JSON, by the standard library: it alone takes integers of any size, which calls may have."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _sealed(cells: Row) -> Row:
    return (*cells, checksum(cells))


def _opened(row: Row, what: str, kind: type[_T]) -> _T:
    _check(row, what)
    return msgspec.convert(row[:-1], kind)


def _check(row: Row, what: str) -> None:
    try:
        intact = checksum(row[:-1]) == row[-1]
    except (TypeError, ValueError):
        intact = False
    if not intact:
        raise CorruptError(what)


def _packed(token_ids: Sequence[int]) -> bytes:
    packed = array("I", token_ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpacked(data: bytes) -> tuple[int, ...]:
    unpacked = array("I", data)
    if sys.byteorder == "big":
        unpacked.byteswap()
    return tuple(unpacked)
