"""Waiting times of tools: quantiles near the truth, for each tenant, bounded."""

from __future__ import annotations

import random

import pytest

from espalier.radix import decision
from espalier.sessions.wait import GROWTH, LEVELS, NUM_BUCKETS, Learnt, Waits


def take(waits: Waits, limit: int | None = None) -> tuple[Learnt, ...]:
    """Its changes, stored."""
    changes = waits.changes(limit)
    waits.settle(changes)
    return changes


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


def knows(waits: Waits, tenant: str, *tools: str) -> bool:
    return all(waits.quantiles(tenant, [tool]) for tool in tools)


def test_a_tenants_flood_of_names_pushes_out_its_own_tools_alone() -> None:
    waits = Waits(max_tools=10)
    for tool in ("one", "two", "three"):
        waits.observe("a", [tool], 1.0)
    for number in range(100):
        waits.observe("b", [str(number)], 1.0)
    assert knows(waits, "a", "one", "two", "three") and knows(waits, "b", *map(str, range(93, 100)))
    assert not any(knows(waits, "b", str(number)) for number in range(93))
    for number in range(100):
        waits.observe("a", [str(number)], 1.0)
    assert knows(waits, "b", *map(str, range(95, 100)))


def test_of_tenants_that_have_as_many_the_one_away_longest_forgets() -> None:
    waits = Waits(max_tools=2)
    for tenant in "abc":
        waits.observe(tenant, ["find"], 1.0)
    assert [knows(waits, tenant, "find") for tenant in "abc"] == [False, True, True]


def test_what_is_forgotten_is_no_longer_handed_out_nor_held() -> None:
    waits = Waits(max_tools=10)
    for number in range(1000):
        waits.observe("a", [str(number)], 1.0)
    assert len(take(waits, 100)) == 10 and take(waits) == ()


def test_more_than_is_held_is_not_taken_from_what_was_stored() -> None:
    waits = Waits()
    for tenant, tool in [("a", "one"), *(("b", str(number)) for number in range(10)), ("a", "two")]:
        waits.observe(tenant, [tool], 1.0)
    fewer = Waits(max_tools=4, learnt=take(waits))
    assert knows(fewer, "a", "one", "two") and knows(fewer, "b", "8", "9") and not knows(fewer, "b", "7")


def test_what_was_learnt_is_taken_once_and_goes_on_elsewhere() -> None:
    waits = Waits()
    for tool, wait_s in (("find", 1.0), ("seek", 20.0), ("find", 2.0)):
        waits.observe("a", [tool], wait_s)
    learnt = take(waits)
    assert len(learnt) == 2 and take(waits) == ()
    other = Waits(learnt=learnt)
    for tools in (["find"], ["seek"], ["find", "seek"]):
        assert other.quantiles("a", tools) == waits.quantiles("a", tools) != ()
    assert other.quantiles("b", ["find"]) == () and take(other) == ()
    for one in (waits, other):
        one.observe("a", ["find"], 5.0)
    assert take(other) == take(waits)


def test_changes_are_taken_in_turn_and_never_of_what_was_forgotten() -> None:
    waits = Waits(max_tools=3)
    for tool in ("one", "two", "three", "one"):
        waits.observe("a", [tool], 1.0)
    first, second = take(waits, 1), take(waits, 1)
    assert first != second and len(first) == len(second) == 1
    for tool in ("four", "five"):
        waits.observe("a", [tool], 1.0)
    waits.observe("a", ["three"], 1.0)
    assert len(take(waits)) == 3


def test_changes_wait_until_they_are_stored_and_again_if_more_is_learnt_meanwhile() -> None:
    waits = Waits()
    for tool in ("one", "two"):
        waits.observe("a", [tool], 1.0)
    changes = waits.changes()
    assert waits.changes() == changes != ()
    waits.observe("a", ["one"], 9.0)
    waits.settle(changes)
    (left,) = waits.changes()
    assert left.tool == changes[0].tool and left.weights != changes[0].weights
    waits.settle(changes)
    assert waits.changes() == (left,)


def test_a_tool_that_is_forgotten_while_it_is_stored_is_no_change() -> None:
    waits = Waits(max_tools=1)
    waits.observe("a", ["one"], 1.0)
    changes = waits.changes()
    waits.observe("a", ["two"], 1.0)
    waits.settle(changes)
    assert [one.tool != changes[0].tool for one in waits.changes()] == [True]


def test_what_other_buckets_have_learnt_is_left_out() -> None:
    waits = Waits()
    waits.observe("a", ["find"], 1.0)
    (learnt,) = take(waits)
    assert Waits(learnt=[learnt._replace(weights=(1.0,) * (NUM_BUCKETS - 1))]).quantiles("a", ["find"]) == ()


def test_no_name_is_handed_out() -> None:
    waits = Waits()
    waits.observe("acme", ["secret_tool"], 1.0)
    told = str(take(waits))
    assert "secret" not in told and "acme" not in told
