"""The journal: what was written is there after a crash at any byte, and one process at a time holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.gateway.sdk import JournalError, Reply, user
from espalier.gateway.sdk.journal import Began, CallBegan, CallDone, Corrected, Ended, Journal, Record, TurnDone
from espalier.gateway.sdk.message import CallMade, Function

RECORDS: list[Record] = [
    Began("run-1", (user("héllo\nthere"),), "turn_0"),
    TurnDone(Reply(calls=(CallMade("a", Function("f", "{}")),), finish_reason="tool_calls")),
    CallBegan("key"),
    CallDone("key", "it rains", "done"),
    Corrected(user("again")),
]


def written(path: Path, records: list[Record]) -> None:
    journal = Journal(path)
    with journal.opened():
        for record in records:
            journal.write(record)


def read(path: Path) -> tuple[Record, ...]:
    journal = Journal(path)
    with journal.opened():
        return journal.records


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    assert read(tmp_path / "j") == tuple(RECORDS)


def test_a_crash_at_any_byte_leaves_the_records_that_were_whole(tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    data = (tmp_path / "j").read_bytes()
    borders = {at for at in range(len(data)) if b"\n" in data[max(0, at - 2) : at + 2]}
    for cut in sorted({*range(0, len(data), 17), *borders, len(data)}):
        path = tmp_path / "cut"
        path.write_bytes(data[:cut])
        whole = data[:cut].count(b"\n")
        assert read(path) == tuple(RECORDS[:whole]), cut
        written(path, [CallBegan("next")])
        assert read(path) == (*RECORDS[:whole], CallBegan("next")), cut


def test_a_run_that_ended_leaves_no_records_and_the_next_one_takes_the_files_place(tmp_path: Path) -> None:
    written(tmp_path / "j", [*RECORDS, Ended("Answered")])
    assert read(tmp_path / "j") == ()
    written(tmp_path / "j", [Began("run-2", ())])
    assert (tmp_path / "j").read_bytes().count(b"\n") == 1
    assert read(tmp_path / "j") == (Began("run-2", ()),)


def test_a_damaged_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    with pytest.raises(JournalError, match="line 2: this is no record"):
        read(tmp_path / "j")


def test_only_one_holds_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with journal.opened():
        with pytest.raises(JournalError, match="another process holds"), Journal(tmp_path / "j").opened():
            pass
        with pytest.raises(JournalError, match="a run of this session is going on"), journal.opened():
            pass
    with journal.opened():
        assert journal.records == ()


def test_only_the_owner_may_read_a_journal(tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_without_a_path_records_are_kept_in_memory() -> None:
    journal = Journal()
    with journal.opened():
        journal.write(RECORDS[0])
    with journal.opened():
        assert journal.records == (RECORDS[0],)
        journal.write(Ended("Answered"))
    assert not journal.records
