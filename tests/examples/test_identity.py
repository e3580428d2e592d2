"""Some of the random schedules of examples/identity: each answer is the one that its request gets alone."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint

FOLDER = Path(__file__).parents[2] / "examples" / "identity"


@pytest.fixture
def schedules(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "schedules", raising=False)
    return importlib.import_module("schedules")


def test_random_schedules_give_the_answers_of_requests_alone(schedules: ModuleType, tmp_path: Path) -> None:
    bench = schedules.Bench.make(write_random_checkpoint(tmp_path / "tiny", SHAPES["tiny"]))
    total: Counter[str] = Counter()
    for counts in bench.play(range(36)):
        total += counts
    assert total["answers"] > 500
    # All that could change an answer did happen.
    for what in ("rollbacks", "forks", "aborts", "deletions", "preemptions", "restarts"):
        assert total[what] > 0, what
    for what in ("evicted tokens", "loaded tokens", "cached tokens", "leases demoted"):
        assert total[what] > 500 or what == "leases demoted", what
