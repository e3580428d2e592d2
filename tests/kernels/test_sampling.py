"""Draws follow the distribution that the settings leave, and depend on nothing but their own row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from espalier.kernels import sampling
from espalier.kernels.sampling import Settings, draw, greedy, log_probabilities, uniform


def settings(
    rows: int, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, seed: int = 0
) -> Settings:
    return Settings(
        torch.full((rows,), temperature),
        torch.full((rows,), top_k),
        torch.full((rows,), top_p),
        torch.full((rows,), min_p),
        torch.from_numpy(uniform(np.full(rows, seed, np.uint64), np.arange(rows, dtype=np.uint64))),
    )


def allowed(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """The distribution by the textbook, one row, float64."""
    probability = torch.softmax(logits.double() / temperature, -1)
    probability[probability < min_p * probability.max()] = 0
    order = probability.argsort(descending=True)
    best = probability[order]
    if top_k:
        best[top_k:] = 0
    before = best.cumsum(0) - best
    best[1:][before[1:] >= top_p * best.sum()] = 0
    kept = torch.zeros_like(probability)
    kept[order] = best
    return kept / kept.sum()


@pytest.mark.parametrize("top_k", [0, 1, 3])
@pytest.mark.parametrize("top_p", [1.0, 0.6])
@pytest.mark.parametrize("min_p", [0.0, 0.2])
@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_draws_follow_the_distribution(top_k: int, top_p: float, min_p: float, temperature: float) -> None:
    logits = torch.tensor([1.0, 0.2, -0.5, 2.0, 0.9, -3.0, 1.4])
    rows = 20_000
    chosen = settings(rows, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    drawn = draw(logits.expand(rows, -1).clone(), chosen)
    share = torch.bincount(drawn, minlength=7) / rows
    wanted = allowed(logits, temperature, top_k, top_p, min_p)
    assert bool((share[wanted == 0] == 0).all())
    # Four standard deviations of a share.
    assert bool(((share - wanted).abs() <= 4 * (wanted * (1 - wanted) / rows).sqrt() + 1e-9).all())


def test_a_row_draws_the_same_whatever_shares_the_batch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(9, 300) * 3
    mixed = Settings(
        torch.linspace(0.5, 1.5, 9),
        torch.tensor([0, 5, 0, 40, 0, 1, 0, 2, 0]),
        torch.tensor([1.0, 0.9, 0.5, 1.0, 0.99, 1.0, 0.3, 0.8, 1.0]),
        torch.tensor([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.05, 0.0, 0.3]),
        torch.from_numpy(uniform(np.arange(9, dtype=np.uint64), np.arange(9, dtype=np.uint64))),
    )
    together = draw(logits, mixed)
    for row in range(9):
        one = slice(row, row + 1)
        alone = Settings(
            mixed.temperature[one], mixed.top_k[one], mixed.top_p[one], mixed.min_p[one], mixed.uniform[one]
        )
        assert int(draw(logits[one], alone)) == int(together[row])


def test_top_p_past_the_candidates_sorts_the_whole_row(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.linspace(0, 1, 50)
    monkeypatch.setattr(sampling, "CANDIDATES", 4)
    drawn = draw(logits.expand(5000, -1).clone(), settings(5000, top_p=0.5))
    wanted = allowed(logits, 1.0, 0, 0.5, 0.0)
    assert set(drawn.tolist()) == set(wanted.nonzero().squeeze(1).tolist())


def test_uniform_numbers_are_spread_evenly_and_repeat() -> None:
    numbers = uniform(np.full(50_000, 7, np.uint64), np.arange(50_000, dtype=np.uint64))
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert abs(counts - 2500).max() < 250
    assert numbers[3] == uniform(np.array([7], np.uint64), np.array([3], np.uint64))[0]
    assert len(np.unique(uniform(np.arange(50_000, dtype=np.uint64), np.zeros(50_000, np.uint64)))) == 50_000


def test_greedy_shows_rows_that_are_no_numbers() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, float("nan"), 1.0]])
    token, best = greedy(logits)
    assert token[0] == 1
    assert torch.isfinite(best).tolist() == [True, False]


@pytest.mark.parametrize("size", [1, 7, 16, 33, 1000])
def test_greedy_takes_the_first_of_the_largest(way: str, size: int) -> None:
    random = torch.Generator().manual_seed(size)
    logits = torch.randint(-3, 3, (9, size), generator=random).float()
    logits[3] = -5.0
    logits[4, size // 2] = float("inf")
    logits[5] = float("-inf")
    token, best = greedy(logits)
    assert torch.equal(best, logits.amax(-1))
    assert token.tolist() == [row.index(max(row)) for row in logits.tolist()]


def test_log_probabilities_agree_with_log_softmax() -> None:
    torch.manual_seed(1)
    logits = torch.randn(5, 40)
    token = torch.tensor([3, 0, 39, 7, 7])
    drawn, best, values = log_probabilities(logits, token, 4)
    whole = torch.log_softmax(logits, -1)
    torch.testing.assert_close(drawn, whole.gather(1, token.unsqueeze(1)).squeeze(1))
    torch.testing.assert_close(values, whole.topk(4).values)
    assert torch.equal(best, whole.topk(4).indices)
