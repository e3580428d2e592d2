"""The script that kills a busy store and a busy server, and the same done to `espalier serve` with its engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "sessions" / "kills.py"


@pytest.mark.parametrize(("words", "kills"), [((), 10), (("--server",), 50)], ids=["store", "server"])
def test_what_was_acknowledged_survives_kills(words: tuple[str, ...], kills: int) -> None:
    command = [sys.executable, str(SCRIPT), "--kills", str(kills), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(rf"{kills} kills, (\d+) inside a write .* (\d+) turns acknowledged, 0 lost, 0 half", done.stdout)
    assert told is not None and int(told[1]) >= kills / 2 and int(told[2]) > kills, done.stdout


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`espalier serve` with the bundled model on a free port, in a process group of its own."""
    command = [sys.executable, "-P", "-m", "espalier.gateway.cli", "serve", "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        try:
            yield url, process
        finally:
            process.kill()


def test_a_killed_server_with_its_engine_has_all_that_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The compiled kernels are not what is tested: they stay where they are.
    monkeypatch.setenv("ESPALIER_CACHE_DIR", os.environ.get("ESPALIER_CACHE_DIR", str(Path.home() / ".cache/espalier")))
    acknowledged: list[dict[str, Any]] = []

    def talk(url: str) -> None:
        """Turn after turn until there is no answer."""
        while True:
            number = len(acknowledged)
            body = {"session_id": "s", "session_mode": "append", "max_tokens": 8, "temperature": 0}
            body["messages"] = [{"role": "user", "content": f"Say {number}."}]
            try:
                answered = httpx.post(
                    f"{url}/v1/chat/completions", json=body, headers={"Idempotency-Key": f"k{number}"}, timeout=60
                )
            except httpx.HTTPError:
                return
            assert answered.status_code == 200, answered.text
            acknowledged.append(answered.json())

    for round_ in range(1, 4):
        with served(tmp_path) as (url, process):
            client = threading.Thread(target=talk, args=(url,))
            client.start()
            while len(acknowledged) < 5 * round_ and client.is_alive():
                client.join(0.01)
            os.kill(process.pid, signal.SIGKILL)
            client.join()
    with served(tmp_path) as (url, _):
        turns = httpx.get(f"{url}/v1/sessions/s/turns", params={"limit": 100}, timeout=60).json()["data"]
    whole = [turn for turn in turns if turn["state"] == "complete"]
    assert [turn["messages"][0]["content"] for turn in whole[: len(acknowledged)]] == [
        f"Say {number}." for number in range(len(acknowledged))
    ]
    assert len(whole) in (len(acknowledged), len(acknowledged) + 1)
    for turn, answered in zip(whole, acknowledged, strict=False):
        assert turn["answer"]["content"] == answered["choices"][0]["message"]["content"]
        assert turn["response_id"] == answered["id"]
    assert not [turn for turn in turns if turn["state"] == "running"]
