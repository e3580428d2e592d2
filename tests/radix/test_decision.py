"""Keep, demote or drop: cases by hand, and against a search over all times to hold."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.radix.decision import LEVELS, UNKNOWN_S, Rent, Stake, Wait, decide, spread


def test_without_rent_everything_is_kept_to_the_longest_wait() -> None:
    decision = decide(spread(UNKNOWN_S), Stake(10, recompute_s=1.0), Rent())
    assert (decision.choice, decision.hold_s, decision.cost_s) == ("keep", 120.0, 0.0)


def test_what_costs_more_to_hold_than_to_compute_is_dropped() -> None:
    decision = decide([Wait(10.0, 1.0)], Stake(100, recompute_s=1.0), Rent(device=0.01))
    assert (decision.choice, decision.hold_s, decision.cost_s) == ("drop", 0.0, 1.0)


def test_it_is_held_for_the_short_waits_and_given_up_in_the_long_ones() -> None:
    decision = decide([Wait(1.0, 0.9), Wait(100.0, 0.1)], Stake(100, recompute_s=2.0), Rent(device=0.01))
    assert (decision.choice, decision.hold_s, decision.after) == ("keep", 1.0, "drop")
    assert decision.cost_s == pytest.approx(1.0 + 0.2)


def test_it_is_demoted_where_loading_is_cheaper_than_computing() -> None:
    stake = Stake(100, recompute_s=2.0, store_s=0.1, load_s=0.1)
    decision = decide([Wait(10.0, 1.0)], stake, Rent(device=0.01))
    assert (decision.choice, decision.hold_s) == ("demote", 0.0)
    assert decision.cost_s == pytest.approx(0.2)
    assert decide([Wait(10.0, 1.0)], stake, Rent(device=0.01, lower=0.01)).choice == "drop"


@pytest.mark.parametrize("seed", range(20))
def test_no_time_to_hold_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    waits = spread(np.sort(rng.exponential(10, len(LEVELS))).tolist())
    stake, rent = Stake(100, float(rng.exponential(2))), Rent(float(rng.exponential(0.002)))
    best = decide(waits, stake, rent)
    for hold_s in np.linspace(0, 60, 200):
        cost = sum(
            chance * (min(wait, hold_s) * 100 * rent.device + (stake.recompute_s if wait > hold_s else 0))
            for wait, chance in waits
        )
        assert best.cost_s <= cost + 1e-9


def test_quantiles_stand_for_what_is_nearest_to_them() -> None:
    waits = spread((1, 2, 3, 4, 5, 6))
    assert [wait.seconds for wait in waits] == [1, 2, 3, 4, 5, 6]
    assert [wait.chance for wait in waits] == pytest.approx([0.175, 0.2, 0.25, 0.2, 0.12, 0.055])


@pytest.mark.parametrize(
    "quantiles", [(), (1, 2, 3), (1, 2, 3, 2, 5, 6), (-1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, float("nan"))]
)
def test_quantiles_that_are_none_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rising quantiles"):
        spread(quantiles)


def test_a_wait_must_be_told() -> None:
    with pytest.raises(ValueError, match="no wait"):
        decide([], Stake(1, 1.0), Rent())
