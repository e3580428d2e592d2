"""Waiting times of tools: quantiles near the truth, for each tenant, bounded."""

from __future__ import annotations

import random

import pytest

from espalier.radix import decision
from espalier.sessions.wait import GROWTH, LEVELS, Waits


def test_an_unknown_tool_has_no_quantiles() -> None:
    waits = Waits()
    waits.observe("a", ["find"], 1.0)
    assert waits.quantiles("a", ["seek"]) == ()
    assert waits.quantiles("a", ["find", "seek"]) == ()
    assert waits.quantiles("b", ["find"]) == ()
    assert waits.quantiles("a", []) == ()


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_quantiles_lie_within_a_bucket_of_the_latest_times(spread: float) -> None:
    random_ = random.Random(5)
    waits, seen = Waits(), []
    for _ in range(2000):
        seen.append(random_.lognormvariate(1.0, spread))
        waits.observe("a", ["find"], seen[-1])
    told = waits.quantiles("a", ["find"], (0.25, 0.5, 0.75))
    latest = sorted(seen[-50:])
    for level, value in zip((0.25, 0.5, 0.75), told, strict=True):
        low, high = latest[int(50 * level) - 10], latest[int(50 * level) + 10]
        assert low / GROWTH <= value <= high * GROWTH


def test_a_tool_that_changes_its_ways_is_known_soon() -> None:
    waits = Waits()
    for _ in range(1000):
        waits.observe("a", ["find"], 0.1)
    for _ in range(100):
        waits.observe("a", ["find"], 30.0)
    assert 30.0 <= waits.quantiles("a", ["find"], (0.5,))[0] <= 30.0 * GROWTH


def test_the_levels_are_those_that_the_tree_decides_by() -> None:
    assert LEVELS == decision.LEVELS


def test_tools_that_run_together_take_as_long_as_the_slowest() -> None:
    waits = Waits()
    waits.observe("a", ["fast"], 0.1)
    waits.observe("a", ["slow"], 10.0)
    assert waits.quantiles("a", ["fast", "slow"]) == waits.quantiles("a", ["slow"])
    assert len(waits.quantiles("a", ["slow"])) == len(LEVELS)


@pytest.mark.parametrize("wait_s", [0.0, -5.0, 1e-9, 1e9, float("inf"), float("nan")])
def test_any_time_is_taken(wait_s: float) -> None:
    waits = Waits()
    waits.observe("a", ["find"], wait_s)
    assert 0 < waits.quantiles("a", ["find"], (0.5,))[0] < 1e6


def test_tools_used_least_recently_are_forgotten() -> None:
    waits = Waits(max_tools=2)
    for tool in ("one", "two", "one", "three"):
        waits.observe("a", [tool], 1.0)
    assert waits.quantiles("a", ["two"]) == () and waits.quantiles("a", ["one"]) != ()
