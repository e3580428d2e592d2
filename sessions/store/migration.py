"""The database's versions: each script leads from one to the next. What was released is never changed."""

from __future__ import annotations

import sqlite3

from espalier.sessions.errors import StoreError

APPLICATION_ID = 0x45535031  # "ESP1"

FIRST = """
CREATE TABLE sessions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, ttl_s REAL, head TEXT, running TEXT, base TEXT,
    metadata BLOB NOT NULL, checksum BLOB NOT NULL
);
CREATE UNIQUE INDEX sessions_name ON sessions (tenant, name) WHERE name IS NOT NULL;
CREATE INDEX sessions_tenant ON sessions (tenant, kind, seq);
CREATE INDEX sessions_base ON sessions (base) WHERE base IS NOT NULL;
CREATE INDEX sessions_running ON sessions (running) WHERE running IS NOT NULL;
CREATE INDEX sessions_expiry ON sessions (updated_at + ttl_s) WHERE ttl_s IS NOT NULL;
CREATE TABLE turns (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, session_id TEXT NOT NULL, tenant TEXT NOT NULL,
    parent TEXT, state TEXT NOT NULL, created_at REAL NOT NULL, ended_at REAL, response_id TEXT UNIQUE,
    idempotency_key TEXT, body_digest BLOB, is_background INTEGER NOT NULL, is_hidden INTEGER NOT NULL,
    cache_salt TEXT NOT NULL, finish_reason TEXT, context_len INTEGER NOT NULL, kept_len INTEGER NOT NULL,
    mark_len INTEGER, mark_digest BLOB, mark_ends INTEGER, messages BLOB NOT NULL, answer BLOB,
    prompt_ids BLOB NOT NULL, output_ids BLOB NOT NULL, checksum BLOB NOT NULL
);
CREATE INDEX turns_session ON turns (session_id, seq);
CREATE INDEX turns_parent ON turns (parent) WHERE parent IS NOT NULL;
CREATE INDEX turns_key ON turns (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX turns_running ON turns (state) WHERE state = 'running';
CREATE TABLE records (
    turn_id TEXT PRIMARY KEY, request BLOB NOT NULL, response BLOB NOT NULL, events BLOB NOT NULL,
    checksum BLOB NOT NULL
) WITHOUT ROWID;
"""

WAITS = """
CREATE TABLE waits (
    tool BLOB PRIMARY KEY, tenant BLOB NOT NULL, learnt_at REAL NOT NULL, weights BLOB NOT NULL, checksum BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX waits_age ON waits (learnt_at);
"""

MIGRATIONS: tuple[str, ...] = (FIRST, WAITS)


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring a database to the latest version, in one transaction for each step.

    Raises StoreError for a database of a newer version, or of another program.
    """
    version, newest = _pragma(connection, "user_version"), len(migrations)
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError("the file sessions.db is the database of another program; choose another data_dir")
    if version and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError("the file sessions.db is the database of another program; choose another data_dir")
    if version > newest:
        raise StoreError(
            f"the sessions were written by a newer version of espalier (format {version}; this one reads up to "
            f"{newest}); use that version, or another data_dir"
        )
    for number in range(version, newest):
        _step(connection, migrations[number], number + 1)


def _step(connection: sqlite3.Connection, script: str, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, script.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
