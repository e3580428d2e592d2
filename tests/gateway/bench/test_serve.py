"""`espalier bench serve` and `espalier chat` against a real server: what a user sees of both."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.gateway.cli import main
from espalier.gateway.local_server import local_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with local_server(None, ("--threads", "1", "--kv-memory-bytes", "64MiB")) as url:
        yield url


def test_closed_and_open_loops_are_measured_told_and_drawn(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load = "--users 1,4 --rate 20 --conversations 4 --turns 2 --system-tokens 100 --answer-tokens 8 --ignore-eos"
    told = f"--slo-ttft 60 --slo-itl 60 --price-per-hour 3.6 --json --plot {tmp_path / 'load.svg'}"
    assert main(["bench", "serve", "--url", url, *load.split(), *told.split()]) == 0
    shown = capsys.readouterr()
    levels = json.loads(shown.out)["levels"]
    assert [(level["users"], level["rate"]) for level in levels] == [(1, None), (4, None), (None, 20.0)]
    for level in levels:
        assert level["requests"] == 8 and not level["errors"]
        assert level["completion_tokens"] == 64 and level["tokens_are_counted"]
        assert level["cached_tokens"] > 300
        for times in ("first_token_s", "token_s", "latency_s"):
            assert 0 < level[times]["p50"] <= level[times]["p95"] <= level[times]["p99"]
        assert level["good_share"] == 1
        assert level["cost_per_million"] == pytest.approx(1000 / level["tokens_per_s"])
    assert "tokens/s each" in shown.err and "$/M tokens" in shown.err
    assert ElementTree.parse(tmp_path / "load.svg").getroot().tag.endswith("svg")


def test_a_chat_streams_counts_and_keeps_its_history(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "chat.json"
    said = ["Hello!", "My name is Bela.", "/help", "/nonsense", f"/save {kept}", "/exit", "never read"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(said)))
    assert main(["chat", "--url", url, "--temperature", "0"]) == 0
    shown = capsys.readouterr().out
    messages = json.loads(kept.read_text(encoding="utf-8"))
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert all(message["content"] in shown for message in messages if message["role"] == "assistant")
    assert shown.count("tok/s") == 2 and "cached" in shown
    assert "there is no /nonsense" in shown and "never read" not in shown
