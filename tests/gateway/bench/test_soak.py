"""`espalier bench soak` for seconds instead of minutes: a real server, clients that go away at random."""

from __future__ import annotations

import json

import pytest

from espalier.gateway.cli import main
from espalier.gateway.local_server import local_server

SERVER = ("--exact", "--threads", "1", "--kv-memory-bytes", "16MiB")


def test_clients_that_go_away_harm_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    load = "--users 20 --minutes 0.06 --kill-rate 0.4 --questions 6 --answer-tokens 12 --json".split()
    with local_server(None, SERVER) as url:
        status = main(["bench", "soak", "--url", url, *load])
    told = json.loads(capsys.readouterr().out)
    assert told["violations"] == []
    assert status == 0
    assert told["answered"] > 0 and told["killed"] > 0


def test_a_server_that_is_not_there_is_a_message_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "soak", "--url", "http://127.0.0.1:1"]) == 1
    assert "does not answer" in capsys.readouterr().out
