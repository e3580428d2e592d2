"""Limits and prices."""

from __future__ import annotations

import pickle

import pytest

from espalier.gateway.sdk import (
    AnswerCut,
    Cost,
    CostReached,
    DefinitionError,
    Limit,
    Price,
    Run,
    Seconds,
    Stop,
    TimeReached,
    Tokens,
    TokensReached,
    Turns,
    TurnsReached,
    Usage,
)
from espalier.gateway.sdk.limit import reached

RUN: Run[object] = Run("", "run-1", (), 3, Usage(100, 40, 20, cost=0.5), 7.0)


@pytest.mark.parametrize(
    ("limit", "is_reached", "kind"),
    [
        (Turns(3), True, TurnsReached),
        (Turns(4), False, TurnsReached),
        (Tokens(120), True, TokensReached),
        (Tokens(121), False, TokensReached),
        (Cost(0.5), True, CostReached),
        (Cost(0.51), False, CostReached),
        (Seconds(7), True, TimeReached),
        (Seconds(7.1), False, TimeReached),
    ],
)
def test_a_limit_is_reached_at_its_number_and_has_a_way_to_stop(limit: Limit, is_reached: bool, kind: type) -> None:
    assert limit.is_reached(RUN) is is_reached
    stop = reached(limit, RUN)
    assert (type(stop), stop.limit, stop.run) == (kind, limit, RUN)
    assert str(limit) in str(stop)


@pytest.mark.parametrize("stop", [reached(Turns(3), RUN), AnswerCut("the answer is not whole", RUN)])
def test_a_stop_comes_whole_out_of_another_process(stop: Stop) -> None:
    stop.add_note("in worker 3")
    again = pickle.loads(pickle.dumps(stop))
    assert (type(again), str(again), vars(again)) == (type(stop), str(stop), vars(stop))


@pytest.mark.parametrize("kind", [Turns, Tokens, Cost, Seconds])
@pytest.mark.parametrize("most", [0, -1, float("nan")])
def test_a_limit_is_over_0(kind: type[Turns], most: float) -> None:
    with pytest.raises(DefinitionError, match=f"{kind.__name__}.*over 0"):
        kind(most)


def test_a_cost_that_nobody_knows_is_not_guessed() -> None:
    assert not Cost(1).is_reached(Run("", "run-1", (), 0, Usage(), 0.0))
    with pytest.raises(DefinitionError, match="give the agent a price"):
        Cost(1).is_reached(Run("", "run-1", (), 1, Usage(10), 0.0))


def test_usage_adds_up_and_a_price_tells_cached_tokens_apart() -> None:
    usage = Usage(100, 40, 20, 5) + Usage(10, 0, 1)
    assert usage == Usage(110, 40, 21, 5)
    assert usage.total_tokens == 131
    assert (Usage(cost=1.5) + Usage() + Usage(cost=2.0)).cost == 3.5
    assert Price(prompt=2, completion=10, cached=1).of(usage) == pytest.approx((70 * 2 + 40 + 210) / 1e6)
    assert Price(prompt=2, completion=10).of(usage) == pytest.approx((110 * 2 + 210) / 1e6)
