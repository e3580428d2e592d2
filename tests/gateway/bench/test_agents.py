"""`espalier bench agents`: the agents it makes, and the command on a small pool."""

from __future__ import annotations

import json

import numpy as np
import pytest

from espalier.engine.scheduler import Limits
from espalier.gateway import cli
from espalier.gateway.bench.agent_run import Figures, Replay, StepModel
from espalier.gateway.bench.agent_trace import GAPS, LONGEST_S, SHORTEST_S, AgentMaker
from espalier.radix import RecomputeCost

MODEL = StepModel(0.01, RecomputeCost(0.0, 1e-4, 1e-9), 0.0003)


def replay(seed: int, *, lease_tokens: int, num_agents: int = 6) -> Figures:
    maker = AgentMaker(np.random.default_rng(seed), GAPS["short"], median_turns=8, median_answer_tokens=10)
    limits = Limits(20_000, 20_000, 16, 2048, lease_tokens=lease_tokens, patience_s=5.0)
    return Replay(maker, num_agents, limits, MODEL, settle_s=5.0).run(25.0)


@pytest.mark.parametrize("gaps", list(GAPS))
def test_tools_take_from_a_tenth_of_a_second_to_a_minute(gaps: str) -> None:
    rng = np.random.default_rng(1)
    waits = [GAPS[gaps](rng).wait_s for _ in range(2000)]
    known = [wait for wait in waits if wait is not None]
    assert all(SHORTEST_S <= wait <= LONGEST_S for wait in known)
    assert (len(known) < len(waits)) == (gaps == "vanishing")


def test_agents_have_subagents_and_as_many_turns_as_asked_for() -> None:
    maker = AgentMaker(np.random.default_rng(2), GAPS["short"])
    agents = [maker.agent() for _ in range(300)]
    with_subagent = sum(any(turn.subagent is not None for turn in agent.turns) for agent in agents)
    assert 0.35 < with_subagent / 300 < 0.53
    assert 38 < np.median([len(agent.turns) for agent in agents]) < 48
    assert all(turn.subagent is None or turn.subagent.turns for agent in agents for turn in agent.turns)


def test_agents_share_their_system_prompts() -> None:
    maker = AgentMaker(np.random.default_rng(3), GAPS["short"])
    starts = {maker.agent().turns[0].new_tokens[:2000].tobytes() for _ in range(20)}
    assert len(starts) == 2


def test_the_same_seed_gives_the_same_figures() -> None:
    assert replay(1, lease_tokens=10_000) == replay(1, lease_tokens=10_000)
    assert replay(1, lease_tokens=10_000) != replay(2, lease_tokens=10_000)


def test_a_pool_that_holds_everything_misses_only_what_is_new() -> None:
    found = replay(1, lease_tokens=20_000, num_agents=1)
    assert found.turns > 3
    assert found.cached_tokens / found.prompt_tokens > 0.8


def test_the_command_reports_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pool", "30000", "--over", "1.5", "--gaps", "short", "--seconds", "8", "--settle", "2", "--json"]
    words += ["--seeds", "1", "2", "--jobs", "2"]
    assert cli.main(["bench", "agents", *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    for way in ("leases", "lru"):
        assert 0 <= row[way]["hit_rate"] <= 1
        assert row[way]["tokens_per_s"] > 0
