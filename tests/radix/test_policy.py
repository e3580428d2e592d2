"""The order of eviction by each policy."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from espalier.radix import LeastRecent, LeastValue, Policy, PrefixTree, RecomputeCost, Root
from tests.radix.model import evicted, ids, put

ROOT = Root("a")


class Leaf(NamedTuple):
    """What a policy is told."""

    last_wanted: float
    begin: int
    end: int


def test_the_cost_of_computing_again_grows_with_what_lies_before() -> None:
    cost = RecomputeCost(fixed_s=1.0, per_token_s=0.1, per_context_s=0.01)
    assert cost.seconds(0, 10) == pytest.approx(1 + 1 + 0.5)
    assert cost.seconds(10, 20) == pytest.approx(1 + 1 + 1.5)
    assert cost.seconds(5, 5) == 0


def test_the_least_recent_is_told_by_its_last_use_alone() -> None:
    assert LeastRecent().score(Leaf(3.0, 0, 9)) == LeastRecent().score(Leaf(3.0, 500, 600)) == 3.0


def test_twice_the_cost_by_token_is_worth_a_half_life() -> None:
    policy = LeastValue(RecomputeCost(0, 1.0, 1.0), half_life_s=10)
    assert policy.score(Leaf(0.0, 0, 2)) == pytest.approx(10)
    assert policy.score(Leaf(0.0, 2, 4)) == pytest.approx(20)


def test_the_order_by_value_does_not_change_while_time_goes_by() -> None:
    cost, half_life = RecomputeCost(0.5, 0.1, 0.001), 10.0
    policy = LeastValue(cost, half_life)
    leaves = [
        Leaf(used, begin, begin + length) for used in (0.0, 7.0, 30.0) for begin in (0, 900) for length in (1, 80)
    ]

    def worth(leaf: Leaf, now: float) -> float:
        by_token = cost.seconds(leaf.begin, leaf.end) / (leaf.end - leaf.begin)
        return float(by_token * 2 ** (-(now - leaf.last_wanted) / half_life))

    for now in (30.0, 60.0, 200.0):
        assert sorted(leaves, key=policy.score) == sorted(leaves, key=lambda leaf: worth(leaf, now))


@pytest.mark.parametrize(
    ("policy", "slots"), [(LeastRecent(), [4, 5]), (LeastValue(RecomputeCost(0, 1, 1), half_life_s=100), [6])]
)
def test_the_tree_evicts_as_its_policy_says(policy: Policy, slots: list[int]) -> None:
    tree = PrefixTree(policy=policy)
    put(tree, ROOT, ids(1, 2, 3, 4, 5, 6), ids(0, 1, 2, 3, 4, 5), now=1)
    put(tree, ROOT, ids(9), ids(6), now=2)
    assert evicted(tree, len(slots)) == slots
