"""`espalier serve` as a process: it answers, it ends in order on a signal, and it says why it can't start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from espalier.gateway import cli
from espalier.gateway.options import GatewayOptions
from espalier.gateway.serve import hand_down_data_dir, model_name

BODY = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "ignore_eos": True}


@contextmanager
def server(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "espalier.gateway.cli", "serve", "--port", "0", "--threads", "1", *words]
    size = {"ESPALIER_KV_MEMORY_BYTES": "64MiB"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **size}
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            yield process, next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line)))
        finally:
            process.kill()


def test_a_running_answer_is_finished_after_sigterm_and_the_exit_status_is_zero() -> None:
    with server() as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/ready").status_code == 200
        body = {**BODY, "max_tokens": 200, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert [line for line in rest if line][-1] == "data: [DONE]"
        assert any('"finish_reason":"length"' in line for line in rest)
        assert process.wait(60) == 0


def test_an_answer_that_outlasts_the_drain_ends_with_a_retriable_error() -> None:
    with server("--drain-timeout-s", "0") as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        body = {**BODY, "max_tokens": 4000, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert any('"code":"aborted"' in line for line in lines)
        assert process.wait(60) == 0


def test_a_second_signal_ends_at_once() -> None:
    with server() as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        body = {**BODY, "max_tokens": 8000, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            assert any('"draining"' in line for line in process.stderr)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM


def test_a_model_that_is_not_there_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "./no-such-folder", "--port", "0"]) == 1
    error = capfd.readouterr().err
    assert "espalier: error: there is no folder './no-such-folder'" in error
    assert "Traceback" not in error


def test_a_model_is_named_by_the_last_part_of_its_folder(tmp_path: Path) -> None:
    assert model_name("bundled") == "espalier"
    assert model_name(str(tmp_path)) == tmp_path.name
    assert model_name("owner/name") == "owner/name"


def test_the_engine_stores_where_the_gateway_was_told_to() -> None:
    environment: dict[str, str] = {}
    hand_down_data_dir(GatewayOptions(), environment)
    assert not environment
    hand_down_data_dir(GatewayOptions(data_dir=Path("some/folder")), environment)
    assert environment == {"ESPALIER_DATA_DIR": str(Path.cwd() / "some" / "folder")}
