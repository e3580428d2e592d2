"""What a benchmark computes from what it saw: exactly."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from espalier.gateway.bench.plot import Panel, Series, svg, ticks
from espalier.gateway.bench.prices import PRICES_PER_HOUR, cost_per_million
from espalier.gateway.bench.quantile import quantile, spread
from espalier.gateway.bench.sample import Load, Objectives, Sample, level_of
from espalier.gateway.bench.soak import Findings
from espalier.gateway.bench.workload import Lengths, Workload, arrivals, conversation


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_quantiles_are_numpys(count: int) -> None:
    values = [random.Random(count).random() for _ in range(count)]
    for share in (0, 0.05, 0.5, 0.95, 0.99, 1):
        assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)))


def test_no_values_have_no_spread() -> None:
    assert spread([]) is None


def test_the_cost_of_a_million_tokens_is_the_price_of_their_time() -> None:
    # 1,000 tokens/s are 3.6 million an hour.
    assert cost_per_million(3.6, 1000) == pytest.approx(1.0)
    assert cost_per_million(PRICES_PER_HOUR["H200"], 2500) == pytest.approx(4.54 / 9)
    assert cost_per_million(1.0, 0) is None


def sample(first: float, total: float, tokens: int, *, turn: int = 0, error: str | None = None) -> Sample:
    return Sample(turn, first, [0.1], total, 10, 5, tokens, error=error)


def test_a_level_sums_up_its_requests() -> None:
    samples = [sample(0.1, 1.1, 11), sample(0.5, 1.5, 11, turn=1), sample(0.1, 0.1, 0, error="timeout")]
    level = level_of(Load(users=2), samples, 2.0, Objectives(first_token_s=0.2), 3.6)
    assert (level.requests, level.errors) == (3, {"timeout": 1})
    assert level.tokens_per_s == 11
    assert level.good_share == pytest.approx(2 / 3 if level.goodput_per_s == 1 else 1 / 3)
    assert level.first_token_turn_1_s is not None
    assert level.first_token_turn_1_s.p50 == 0.1
    assert level.first_token_later_s is not None
    assert level.first_token_later_s.p50 == 0.5
    assert level.token_s is not None
    assert level.token_s.p50 == pytest.approx(0.1)
    assert level.cost_per_million == pytest.approx(3.6 / (11 * 3600) * 1e6)


def test_conversations_are_a_function_of_the_seed() -> None:
    shape = Workload(turns=3, system_tokens=50, prompt_tokens=Lengths(5, 50), seed=4)
    assert conversation(shape, 1, 2) == conversation(shape, 1, 2)
    assert conversation(shape, 1, 2) != conversation(shape, 1, 3)
    assert conversation(shape, 1, 2).system == conversation(shape, 1, 3).system != conversation(shape, 2, 2).system


def test_lengths_are_log_uniform() -> None:
    source, lengths = random.Random(0), Lengths.parse("20:2000")
    drawn = [lengths.draw(source) for _ in range(4000)]
    assert min(drawn) >= 20
    assert max(drawn) <= 2000
    assert np.median(drawn) == pytest.approx(200, rel=0.1)
    with pytest.raises(ValueError, match="LOW <= HIGH"):
        Lengths.parse("9:3")


def test_arrivals_come_at_their_rate() -> None:
    times = list(arrivals(5.0, 5000, seed=1))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize(("highest", "last"), [(0.0, 1.0), (0.9, 1.0), (7, 8.0), (101, 150.0), (5000, 5000.0)])
def test_axes_end_at_round_numbers(highest: float, last: float) -> None:
    assert ticks(highest)[-1] == last


def test_a_plot_is_well_formed_and_escapes_its_texts() -> None:
    drawing = svg([Panel("a < b", "users", [1, 10, 100], [Series("p50 & p99", [1.0, 2.0, 4.0])])], "t")
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    assert "a < b" in {element.text for element in root.iter() if element.text}


def test_a_soak_names_what_went_wrong() -> None:
    flat = Findings(answered=5, memory=[100] * 20)
    assert flat.violations() == []
    bad = Findings(answered=5, different=1, slots_held=3, requests_left=1, memory=[100] * 10 + [130] * 10)
    bad.errors["timeout"] += 2
    assert len(bad.violations()) == 5
    assert Findings().violations() == ["nothing was answered"]
