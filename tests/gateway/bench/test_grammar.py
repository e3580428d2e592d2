"""`espalier bench grammar` on few schemas, and engines that hang or die under it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from espalier.gateway.bench.mask_engine import run_engine
from espalier.gateway.bench.mask_workload import Case
from espalier.gateway.cli import main

ENGINE = """
import json, os, sys, time
start = int(sys.argv[2])
print(json.dumps({"ready": 0.1, "rss": 1}), flush=True)
for case in range(start, 4):
    if case == 1:
        time.sleep(100)
    if case == 2:
        os._exit(3)
    print(json.dumps({"case": f"c{case}"}), flush=True)
print(json.dumps({"done": 4, "rss": 2}), flush=True)
"""


def test_our_engine_reports_every_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = Case("free", {"type": "string"}, ("one", "two"))
    monkeypatch.setattr("espalier.gateway.bench.mask_workload.special_cases", lambda: iter([free]))
    lines = [
        {"id": "a", "schema": {"type": "integer"}, "tests": [{"data": n, "valid": n < 9} for n in (1, 22, 3)]},
        {"id": "b", "schema": {"type": "nothing"}, "tests": []},
        {"id": "c", "schema": {"type": "null"}, "tests": [{"data": 1, "valid": True}]},
    ]
    path = tmp_path / "schemas.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    command = ["bench", "grammar", "--engines", "espalier", "--schemas", str(path), "--kept", "5", "--clock", "cpu"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = told["espalier"]
    assert (told["schemas"], told["clock"]) == (3, "cpu")
    assert (ours["schemas"]["failed"], ours["schemas"]["refused"]) == (1, 1)
    assert all(ours["schemas"][name]["p99"] > 0 for name in ("first", "cold", "second", "again"))
    assert (ours["special"]["free"]["failed"], ours["special"]["free"]["refused"]) == (0, 0)
    assert 0 < ours["kept"]["before"] <= ours["kept"]["after"]


def test_an_engine_that_hangs_or_dies_loses_only_that_case() -> None:
    told = run_engine([sys.executable, "-c", ENGINE], "folder", ["c0", "c1", "c2", "c3"], 0.5)
    cases = [(row["case"], row.get("error")) for row in told if "case" in row]
    assert cases == [("c0", None), ("c1", "no answer in 0.5 s"), ("c2", "the process ended"), ("c3", None)]
    assert told[-1] == {"done": 4, "rss": 2}


def test_a_file_that_is_no_vocabulary_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "grammar", "--vocabulary", str(tmp_path)]) == 2
    assert "expected a tekken.json or a tokenizer.json" in capsys.readouterr().err
