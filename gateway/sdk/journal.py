"""What a session's runs did, written down before anybody acts on it, so that after a crash no tool is done twice.

One JSON object a line, each on disk (fsync) before the step behind it: the prompt before it is sent, a reply before its
calls are made, a call before its tool starts, a result before the model is told. A last line that a crash cut short is
dropped; a damaged line before it is an error. One process at a time holds a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from espalier.gateway.sdk.call import Outcome
from espalier.gateway.sdk.errors import JournalError
from espalier.gateway.sdk.message import Message
from espalier.gateway.sdk.reply import Reply


class Began(Struct, frozen=True, tag="began", omit_defaults=True):
    """A run: its id, the messages that its first turn sends, the turn of the session that they follow, and its key."""

    run: str
    prompt: tuple[Message, ...]
    head: str | None = None
    key: str | None = None


class TurnDone(Struct, frozen=True, tag="turn"):
    """What the model replied."""

    reply: Reply


class Corrected(Struct, frozen=True, tag="corrected"):
    """The answer did not fit its type, and the model is told so."""

    message: Message


class CallBegan(Struct, frozen=True, tag="call"):
    """A tool is about to be started for the call of this key."""

    key: str


class CallDone(Struct, frozen=True, tag="result"):
    """What the model is to be told of the call of this key."""

    key: str
    content: str
    outcome: Outcome


class Ended(Struct, frozen=True, tag="ended"):
    """The run is over: "Answered", or another way to stop by its name."""

    stop: str


Record: TypeAlias = Began | TurnDone | Corrected | CallBegan | CallDone | Ended

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)


class Journal:
    """The records of one session; without a path they are kept in memory and protect against nothing but retries."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._records: list[Record] = []
        self._file: int | None = None
        self._is_open = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the file for as long as a block runs, and read what stands in it. Raises JournalError, OSError."""
        if self._is_open:
            raise JournalError("a run of this session is going on; a stream that is left early ends when it is closed")
        self._is_open = True
        try:
            if self.path is not None:
                self._open(self.path)
            yield
        finally:
            self._is_open = False
            if self._file is not None:
                os.close(self._file)
                self._file = None

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the run that is not over, the first of them `Began`; none where all are over."""
        return () if self._is_over else tuple(self._records)

    @property
    def finished(self) -> tuple[Record, ...]:
        """The records of the latest run where it is over, the last of them `Ended`."""
        return tuple(self._records) if self._is_over else ()

    @property
    def _is_over(self) -> bool:
        return bool(self._records) and isinstance(self._records[-1], Ended)

    def write(self, record: Record) -> None:
        """Add a record; it is on disk when this returns. Raises OSError."""
        if self._file is not None:
            if isinstance(record, Began):  # what was before is over, and its history is the server's
                os.ftruncate(self._file, 0)
            line = _ENCODER.encode(record) + b"\n"
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        self._add(record)

    def _add(self, record: Record) -> None:
        if isinstance(record, Began):
            self._records.clear()
        self._records.append(record)

    def _open(self, path: Path) -> None:
        is_new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        _lock(self._file, path)
        if is_new:
            _sync_folder(path.parent)
        self._records.clear()
        whole_len = 0
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                os.ftruncate(self._file, whole_len)
                os.fsync(self._file)
                break
            whole_len += len(line)
            try:
                self._add(_DECODER.decode(line))
            except msgspec.DecodeError as error:
                raise JournalError(f"{path}, line {number}: this is no record: {error}") from None


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":
        raise JournalError(f"{path}: a journal in a file needs the locks of a POSIX system")
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path}: another process holds this journal") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
