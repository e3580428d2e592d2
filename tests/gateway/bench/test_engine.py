"""`espalier bench engine` on a tiny model: every part gives its figures."""

from __future__ import annotations

import json

import pytest

from espalier.gateway.cli import main


def test_every_part_reports_its_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espalier.gateway.bench.engine.BATCHED", 8)
    monkeypatch.setattr("espalier.gateway.bench.engine.WIDTH", 4)
    monkeypatch.setattr("espalier.gateway.bench.engine.LONGEST", 40)
    monkeypatch.setattr("espalier.gateway.bench.engine.PROMPT_LEN", 32)
    monkeypatch.setattr("espalier.gateway.bench.engine.SHARED_LEN", 100)
    assert main(["bench", "engine", "--shape", "tiny", "--repeat", "1", "--threads", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "tiny"
    figures = {name: value for name, value in told.items() if isinstance(value, float)}
    assert len(figures) == 15
    assert all(value > 0 for value in figures.values())
    assert figures["prefix reuse, share of compute saved"] > 0.2
    assert (
        1
        < figures["continuous / shrinking static, in steps"]
        < figures["bound of continuous / static, max / mean length"]
    )


def test_a_model_that_is_not_there_is_a_message_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--model", "./nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().out
