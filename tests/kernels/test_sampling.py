"""Draws follow the distribution that the settings leave, and depend on nothing but their own row."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from espalier.kernels import native
from espalier.kernels.errors import KernelError
from espalier.kernels.sampling import Ragged, Settings, sample, uniform
from espalier.kernels.sampling_twin import CANDIDATES
from tests.kernels.sampling_case import (
    COMBINATIONS,
    LOGITS,
    Case,
    adjust,
    assert_follows,
    case_of,
    distance_from_boundary,
    probabilities,
    random_case,
    rows_of,
    seeded,
    settings_of,
)


@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(sorted(names)) or "plain")
def test_draws_follow_the_exact_distribution(way: str, names: frozenset[str]) -> None:
    case, rows = case_of(names), 6000
    logits = torch.tensor(LOGITS, dtype=torch.float32).expand(rows, -1)
    assert_follows(sample(logits, settings_of([case] * rows, len(LOGITS), seeded(rows))), probabilities(LOGITS, case))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_draws_the_same_whatever_shares_the_batch(way: str, dtype: torch.dtype) -> None:
    random = np.random.default_rng(1)
    cases = [random_case(random, 300) for _ in range(40)]
    logits = torch.from_numpy(random.normal(size=(40, 300)) * 3).to(dtype)
    settings = settings_of(cases, 300, seeded(40), num_top=4)
    together = sample(logits, settings)
    for row in range(40):
        alone = sample(logits[row : row + 1], rows_of(settings, slice(row, row + 1)))
        assert alone.token[0] == together.token[row]
        assert alone.is_valid[0] == together.is_valid[row]
        if together.logprob is not None and alone.logprob is not None and bool(alone.is_valid[0]):
            torch.testing.assert_close(alone.logprob[0], together.logprob[row], equal_nan=True)


@pytest.mark.parametrize("vocab", [1, 31, 33, 1000, 3072])
def test_the_native_library_and_torch_draw_the_same(monkeypatch: pytest.MonkeyPatch, vocab: int) -> None:
    random = np.random.default_rng(vocab)
    cases = [random_case(random, vocab) for _ in range(100)]
    # Rounded, so that some are equal.
    logits = np.round(random.normal(size=(100, vocab)) * 3, 2).astype(np.float32)
    numbers = seeded(100, vocab)
    settings = settings_of(cases, vocab, numbers, num_top=3)
    native.library.cache_clear()
    natively = sample(torch.from_numpy(logits), settings)
    with monkeypatch.context() as patch:
        patch.setenv("ESPALIER_NATIVE", "0")
        native.library.cache_clear()
        in_torch = sample(torch.from_numpy(logits), settings)
    native.library.cache_clear()
    assert torch.equal(natively.is_valid, in_torch.is_valid)
    assert torch.equal(natively.is_blocked, in_torch.is_blocked)
    for row in (natively.token != in_torch.token).nonzero().squeeze(1).tolist():
        assert distance_from_boundary(logits[row].astype(np.float64), cases[row], numbers[row]) < 1e-5


@pytest.mark.parametrize("vocab", [1, 7, 31, 33, 1000, 4097])
def test_greedy_takes_the_first_of_the_largest_that_are_allowed(way: str, vocab: int) -> None:
    random = np.random.default_rng(vocab)
    logits = random.integers(-3, 3, size=(30, vocab)).astype(np.float32)
    cases = [replace(random_case(random, vocab), temperature=0.0) for _ in range(30)]
    drawn = sample(torch.from_numpy(logits), settings_of(cases, vocab, seeded(30)))
    for row, case in enumerate(cases):
        x = adjust(logits[row].astype(np.float64), case).astype(np.float32)
        assert bool(drawn.is_valid[row]) == bool(x.max() > -math.inf)
        assert bool(drawn.is_blocked[row]) == (x.max() == -math.inf)
        if drawn.is_valid[row]:
            assert int(drawn.token[row]) == int(x.argmax())


def test_equals_at_a_cut_are_taken_by_rising_token(way: str) -> None:
    rows = 4000
    flat = torch.zeros(rows, 70)
    by_count = sample(flat, settings_of([Case(top_k=3)] * rows, 70, seeded(rows)))
    assert set(by_count.token.tolist()) == {0, 1, 2}
    by_mass = sample(flat, settings_of([Case(top_p=0.09, allowed=frozenset(range(20, 60)))] * rows, 70, seeded(rows)))
    assert set(by_mass.token.tolist()) == {20, 21, 22, 23}


@pytest.mark.parametrize("number", [0.0, 0.5, math.nextafter(1, 0)])
def test_a_forbidden_token_never_comes_out(way: str, number: float) -> None:
    allowed = frozenset({3, 64, 65, 200})
    logits = torch.randn(50, 259, generator=torch.Generator().manual_seed(0)) * 20
    cases = [
        Case(
            temperature=0.1 + row, allowed=allowed, bias=((7, 100.0), (200, 1.0)), top_p=[1.0, 0.9][row % 2], top_k=row
        )
        for row in range(50)
    ]
    drawn = sample(logits, settings_of(cases, 259, np.full(50, number)))
    assert set(drawn.token.tolist()) <= allowed


def test_tokens_beyond_the_masks_words_are_forbidden_and_words_beyond_the_vocabulary_say_nothing(way: str) -> None:
    logits = torch.zeros(2, 100)
    logits[:, 99] = 9
    settings = settings_of([Case(temperature=0.0)] * 2, 100, seeded(2))
    short = torch.tensor([[0, 1 << 4], [0, 0]], dtype=torch.int32)
    drawn = sample(logits, replace(settings, mask=short))
    assert (drawn.token.tolist(), drawn.is_blocked.tolist()) == ([36, 0], [False, True])
    beyond = torch.tensor([[0, 0, 0, 0x7FFFFFF0, -1], [0, 0, 0, 0, -1]], dtype=torch.int32)
    drawn = sample(logits, replace(settings, mask=beyond))
    assert drawn.is_blocked.tolist() == [True, True]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_that_are_no_numbers_are_told_from_rows_that_nothing_is_left_of(way: str, temperature: float) -> None:
    logits = torch.zeros(6, 40)
    logits[0, 9] = math.nan
    logits[1, 9] = math.inf
    logits[2] = -math.inf
    # A NaN that is forbidden is not looked at.
    logits[3, 9] = math.nan
    cases = [Case(temperature=temperature)] * 3 + [
        Case(temperature=temperature, allowed=frozenset({4})),
        Case(temperature=temperature, allowed=frozenset()),
        Case(temperature=temperature, allowed=frozenset({4, 5}), bias=((4, -math.inf), (5, -math.inf))),
    ]
    drawn = sample(logits, settings_of(cases, 40, seeded(6)))
    assert drawn.is_valid.tolist() == [False, False, False, True, False, False]
    assert drawn.is_blocked.tolist() == [False, False, False, False, True, True]
    assert drawn.token.tolist() == [0, 0, 0, 4, 0, 0]


@pytest.mark.parametrize("temperature", [1e-30, 1e-4, 100.0])
def test_extreme_temperatures_draw(way: str, temperature: float) -> None:
    logits = torch.tensor([[-1e30, 3.0, 5.0, -math.inf]]).expand(200, -1)
    drawn = sample(logits, settings_of([Case(temperature=temperature)] * 200, 4, seeded(200)))
    assert set(drawn.token.tolist()) == ({2} if temperature < 1 else {1, 2})


def test_top_p_past_the_candidates_looks_at_the_whole_row(way: str) -> None:
    logits = np.linspace(0, 1, 3 * CANDIDATES)
    case, rows = Case(top_p=0.5), 300
    x = torch.from_numpy(logits).float().expand(rows, -1)
    drawn = sample(x, settings_of([case] * rows, len(logits), np.arange(rows) / rows))
    running = np.cumsum(probabilities(logits, case))
    # A step of the numbers is some tokens wide.
    assert np.abs(running[drawn.token.numpy()] - np.arange(rows) / rows).max() < 2e-3
    assert int(drawn.token.min()) == int((running > 0).argmax())


def test_log_probabilities_are_of_the_logits_as_they_came(way: str) -> None:
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    logits[2, :20] = logits[2, 0]
    logits[4, 5:] = -math.inf
    case = Case(temperature=0.5, allowed=frozenset(range(3, 40)), bias=((4, 2.0),), logprobs=True)
    drawn = sample(logits, settings_of([case, Case(), case, case, case], 40, seeded(5), num_top=8))
    assert drawn.logprob is not None and drawn.top_token is not None and drawn.top_logprob is not None
    whole = torch.log_softmax(logits, -1)
    for row in (0, 2, 3, 4):
        order = np.lexsort((np.arange(40), -logits[row].numpy()))[:8]
        wanted = torch.where(logits[row, order] > -math.inf, torch.from_numpy(order), -1)
        assert torch.equal(drawn.top_token[row], wanted)
        some = wanted >= 0
        torch.testing.assert_close(drawn.top_logprob[row][some], whole[row][wanted[some]])
        torch.testing.assert_close(drawn.logprob[row], whole[row, drawn.token[row]])
    assert bool(drawn.logprob[1].isnan()) and drawn.top_token[1].tolist() == [-1] * 8


def test_a_row_whose_log_probabilities_are_no_numbers_is_invalid_if_it_wanted_them(way: str) -> None:
    logits = torch.zeros(2, 40)
    logits[:, 9] = math.nan
    case = Case(allowed=frozenset({3, 4}))
    drawn = sample(logits, settings_of([case, replace(case, logprobs=True)], 40, seeded(2), num_top=3))
    assert drawn.is_valid.tolist() == [True, False]
    assert drawn.top_token is not None and drawn.top_token[1].tolist() == [-1] * 3


def test_logits_and_masks_may_lie_any_stride_apart_and_stay_as_they_are(way: str) -> None:
    random = np.random.default_rng(3)
    cases = [random_case(random, 1000) for _ in range(20)]
    wide = torch.from_numpy(random.normal(size=(20, 1300))).float()
    settings = settings_of(cases, 1000, seeded(20), num_top=3)
    assert settings.mask is not None
    table = torch.zeros(20, 77, dtype=torch.int32)
    table[:, 5 : 5 + settings.mask.shape[1]] = settings.mask
    before = wide.clone()
    strided = sample(wide[:, 7:1007], replace(settings, mask=table[:, 5 : 5 + settings.mask.shape[1]]))
    dense = sample(wide[:, 7:1007].contiguous(), settings)
    assert torch.equal(strided.token, dense.token)
    assert torch.equal(wide, before)


def test_uniform_numbers_are_spread_evenly_and_repeat() -> None:
    numbers = seeded(50_000, 7)
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert abs(counts - 2500).max() < 250
    assert numbers[3] == uniform(np.array([7], np.uint64), np.array([3], np.uint64))[0]
    assert len(np.unique(uniform(np.arange(50_000, dtype=np.uint64), np.zeros(50_000, np.uint64)))) == 50_000


def test_no_rows_draw_nothing() -> None:
    assert sample(torch.zeros(0, 9), settings_of([], 9, seeded(0))).token.shape == (0,)


PLAIN = settings_of([Case()] * 2, 9, seeded(2))
ENTRIES = Ragged(torch.zeros(3, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0))


@pytest.mark.parametrize(
    ("logits", "settings", "said"),
    [
        (torch.zeros(2, 9, dtype=torch.float64), PLAIN, "logits are"),
        (torch.zeros(9, 2).t(), PLAIN, "last axis is contiguous"),
        (torch.zeros(2, 0), PLAIN, "empty vocabulary"),
        (torch.zeros(3, 9), PLAIN, "temperature is"),
        (torch.zeros(2, 9), replace(PLAIN, top_k=torch.zeros(2)), "top_k is"),
        (torch.zeros(2, 9), replace(PLAIN, uniform=torch.zeros(2)), "uniform is"),
        (torch.zeros(2, 9), replace(PLAIN, mask=torch.zeros(3, 1, dtype=torch.int32)), "mask is"),
        (torch.zeros(2, 9), replace(PLAIN, is_masked=torch.zeros(2, dtype=torch.bool)), "needs a mask"),
        (torch.zeros(2, 9), replace(PLAIN, num_top=3), "needs wants_logprob"),
        (torch.zeros(2, 9), replace(PLAIN, num_top=5000), "num_top is 5000"),
        (torch.zeros(2, 9), replace(PLAIN, repetition=torch.ones(2)), "go together"),
        (torch.zeros(2, 9), replace(PLAIN, bias=replace(ENTRIES, start=ENTRIES.start[1:])), "bias.start is"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(logits: torch.Tensor, settings: Settings, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        sample(logits, settings)
