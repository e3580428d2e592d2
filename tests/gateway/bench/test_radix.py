"""`espalier bench radix`: the trace, and the command on a small one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from espalier.gateway import cli
from espalier.gateway.bench.tree_ours import Ours
from espalier.gateway.bench.tree_run import Stopwatch, Trace, grow, histories_of, ids_of, match_all, slots_of

SMALL = Trace(sessions=6, tokens=300, turns=7, shared=40, is_scattered=False)


def test_sessions_share_their_prompts_and_nothing_else() -> None:
    trace = SMALL._replace(sessions=9)
    one, other, far = ids_of(trace, 0), ids_of(trace, 8), ids_of(trace, 1)
    assert np.array_equal(one[:40], other[:40])
    assert not np.array_equal(one[:41], other[:41])
    assert not np.array_equal(one[:2], far[:2])


@pytest.mark.parametrize("is_scattered", [False, True])
def test_each_slot_belongs_to_one_token(is_scattered: bool) -> None:
    trace = SMALL._replace(is_scattered=is_scattered)
    step = trace.tokens // trace.turns * trace.turns
    slots = np.concatenate([np.sort(slots_of(trace, session))[:step] for session in range(trace.sessions)])
    assert len(np.unique(slots)) == len(slots)


def test_the_tree_finds_every_session_whole() -> None:
    tree, watch, histories = Ours(), Stopwatch(), histories_of(SMALL)
    grow(tree, SMALL, histories, watch)
    assert match_all(tree, SMALL, histories, watch) == SMALL.sessions * 7 * (300 // 7)
    assert tree.evict(50) == 50
    assert set(watch.seconds) == {"match", "lock", "insert", "whole", "branch"}


def test_the_command_reports_each_operation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "radix", "--sessions", "4", "--tokens", "9000", "--turns", "3", "--shared", "1000", "--json"]
    assert cli.main([*words, "--environment", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    for name in ("rising slots", "scattered slots"):
        assert told[name]["espalier"]["found"] == 36000
        assert {"match", "insert", "lock", "evict"} <= set(told[name]["espalier"]["times"])


def test_a_trace_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "radix", "--tokens", "10", "--turns", "11"]) == 2
    assert "--turns" in capsys.readouterr().err
