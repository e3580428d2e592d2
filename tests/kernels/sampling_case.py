"""Cases of sampling: rows with any settings, and the exact probabilities of one row by the textbook, in float64."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.kernels.sampling import Ragged, Sampled, Settings, uniform

Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """Settings of one row, in Python's words. `seen` and `bias` are tokens and what goes with them."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    allowed: frozenset[int] | None = None
    seen: tuple[tuple[int, int], ...] = ()
    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    bias: tuple[tuple[int, float], ...] = ()
    logprobs: bool = False


LOGITS = np.round(np.random.default_rng(5).normal(size=45) * 2, 1)
"""Some are equal."""
SWITCHES: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 1.6},
    "top_k": {"top_k": 9},
    "top_p": {"top_p": 0.83},
    "min_p": {"min_p": 0.045},
    "penalties": {
        "seen": ((0, 0), (3, 2), (7, 1), (20, 5), (31, 0), (44, 1)),
        "repetition": 1.4,
        "presence": 0.6,
        "frequency": 0.3,
    },
    "bias": {"bias": ((2, 1.5), (3, -1.0), (8, -math.inf), (40, 2.5))},
    "mask": {"allowed": frozenset({*range(2, 22), 31, 32, 40, 44})},
}
COMBINATIONS = [
    frozenset(chosen) for count in range(len(SWITCHES) + 1) for chosen in itertools.combinations(SWITCHES, count)
]
"""All 128, by the names of what is on."""


def case_of(names: frozenset[str]) -> Case:
    """The settings with these on."""
    return Case(**{field: value for name in names for field, value in SWITCHES[name].items()})


def settings_of(cases: list[Case], vocab: int, numbers: NDArray[np.float64], *, num_top: int = 0) -> Settings:
    """The settings of a batch of these rows; `numbers` decide their draws."""
    seen, bias = _ragged([case.seen for case in cases]), _ragged([case.bias for case in cases])
    is_masked = torch.tensor([case.allowed is not None for case in cases])
    wants = torch.tensor([case.logprobs for case in cases])
    return Settings(
        temperature=torch.tensor([case.temperature for case in cases]),
        top_k=torch.tensor([case.top_k for case in cases], dtype=torch.int32),
        top_p=torch.tensor([case.top_p for case in cases]),
        min_p=torch.tensor([case.min_p for case in cases]),
        uniform=torch.from_numpy(numbers),
        mask=pack([case.allowed for case in cases], vocab) if bool(is_masked.any()) else None,
        is_masked=is_masked if bool(is_masked.any()) else None,
        seen=seen,
        repetition=None if seen is None else torch.tensor([case.repetition for case in cases]),
        presence=None if seen is None else torch.tensor([case.presence for case in cases]),
        frequency=None if seen is None else torch.tensor([case.frequency for case in cases]),
        bias=bias,
        wants_logprob=wants if bool(wants.any()) else None,
        num_top=num_top if bool(wants.any()) else 0,
    )


def pack(rows: list[frozenset[int] | None], vocab: int) -> Tensor:
    """Masks int32 [R, W] of sets of tokens; what rows without one have does not matter."""
    words = np.zeros((len(rows), -(-vocab // 32)), dtype=np.uint32)
    for row, allowed in enumerate(rows):
        for token in allowed or ():
            words[row, token // 32] |= np.uint32(1 << token % 32)
    return torch.from_numpy(words.view(np.int32))


def _ragged(rows: list[tuple[tuple[int, float], ...]] | list[tuple[tuple[int, int], ...]]) -> Ragged | None:
    if not any(rows):
        return None
    pairs = [pair for row in rows for pair in row]
    return Ragged(
        torch.tensor(np.cumsum([0, *(len(row) for row in rows)]), dtype=torch.int32),
        torch.tensor([token for token, _ in pairs], dtype=torch.int32),
        torch.tensor([value for _, value in pairs], dtype=torch.float32),
    )


def seeded(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Uniform numbers of the positions 0 to `rows` of one seed."""
    return uniform(np.full(rows, seed, np.uint64), np.arange(rows, dtype=np.uint64))


def rows_of(settings: Settings, at: slice) -> Settings:
    """The settings of some rows."""

    def part(ragged: Ragged | None) -> Ragged | None:
        if ragged is None:
            return None
        start = ragged.start[at.start : at.stop + 1]
        inside = slice(int(start[0]), int(start[-1]))
        return Ragged(start - start[0], ragged.token[inside], ragged.value[inside])

    vectors = ("temperature", "top_k", "top_p", "min_p", "uniform", "mask", "is_masked", "repetition", "presence",
               "frequency", "wants_logprob")  # fmt: skip
    chosen: dict[str, Any] = {
        name: None if (value := getattr(settings, name)) is None else value[at] for name in vectors
    }
    return replace(settings, **chosen, seen=part(settings.seen), bias=part(settings.bias))


def adjust(logits: Row, case: Case) -> Row:
    """The logits after penalties, bias and mask."""
    x = logits.astype(np.float64).copy()
    for token, count in case.seen:
        x[token] = x[token] / case.repetition if x[token] > 0 else x[token] * case.repetition
        if count:
            x[token] -= case.presence + case.frequency * count
    for token, value in case.bias:
        x[token] += value
    if case.allowed is not None:
        x[[token for token in range(len(x)) if token not in case.allowed]] = -math.inf
    return x


def probabilities(logits: Row, case: Case) -> Row:
    """The distribution that a drawn row's settings leave."""
    x = adjust(logits, case)
    weight = np.exp((x - x.max()) / case.temperature)
    order = np.lexsort((np.arange(len(x)), -x))
    kept = [int(token) for token in order if weight[token] > 0 and weight[token] >= case.min_p * (1 - 1e-9)]
    kept = kept[: case.top_k] if case.top_k else kept
    whole, before, count = weight[kept].sum(), 0.0, 0
    while count < len(kept) and (count == 0 or case.top_p >= 1 or before < case.top_p * whole):
        before += weight[kept[count]]
        count += 1
    left = np.zeros_like(weight)
    left[kept[:count]] = weight[kept[:count]]
    result: Row = left / left.sum()
    return result


def random_case(random: np.random.Generator, vocab: int) -> Case:
    """Any settings, each off as often as not."""

    def either(value: float, off: float) -> float:
        return value if random.random() < 0.5 else off

    def tokens(most: int) -> list[int]:
        return sorted(int(token) for token in random.permutation(vocab)[: random.integers(0, most + 1)])

    allowed = None
    if random.random() < 0.6:
        share = random.choice([0.0, 0.01, 0.5, 1.0])
        allowed = frozenset(int(token) for token in np.flatnonzero(random.random(vocab) < share))
        if random.random() < 0.2:
            allowed = frozenset([int(random.integers(vocab))])
    biases = [-math.inf, -3.0, 2.0, 5.0]
    return Case(
        temperature=float(random.choice([0.0, 0.4, 1.0, 1.7])),
        top_k=int(either(float(random.choice([1, 3, 50, 700, 10_000])), 0)),
        top_p=either(float(random.choice([0.2, 0.9, 0.99])), 1.0),
        min_p=either(float(random.choice([0.02, 0.3, 1.0])), 0.0),
        allowed=allowed,
        seen=tuple((token, int(random.integers(0, 4))) for token in tokens(40)) if random.random() < 0.5 else (),
        repetition=either(1.3, 1.0),
        presence=either(0.7, 0.0),
        frequency=either(-0.2, 0.0),
        bias=tuple((token, float(random.choice(biases))) for token in tokens(20)) if random.random() < 0.5 else (),
        logprobs=bool(random.random() < 0.4),
    )


def distance_from_boundary(logits: Row, case: Case, number: float) -> float:
    """How far a row's number lies from where rounding could decide: between two tokens, or at the cut of top-p."""
    running = np.cumsum(probabilities(logits, case))
    near = float(np.abs(running - number).min())
    if case.top_p < 1:
        before = np.cumsum(np.sort(probabilities(logits, replace(case, top_p=1.0)))[::-1])
        near = min(near, float(np.abs(before - case.top_p).min()))
    return near


def chi_square(counts: NDArray[np.int64], expected: Row) -> tuple[float, float]:
    """The statistic, with the rare tokens taken together, and what it exceeds once in three million."""
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    if expected[-1] < 1:
        counts, expected = counts[:-1], expected[:-1]
    freedom = len(counts) - 1
    statistic = float(((counts - expected) ** 2 / expected).sum())
    # Wilson and Hilferty (1931): the cube root is nearly normal; five standard deviations.
    return statistic, freedom * (1 - 2 / (9 * freedom) + 5 * math.sqrt(2 / (9 * freedom))) ** 3 if freedom else 1e-9


def assert_follows(drawn: Sampled, wanted: Row) -> None:
    """The drawn tokens, each row's by its own number, are as frequent as wanted."""
    assert bool(drawn.is_valid.all())
    counts = np.bincount(drawn.token.cpu().numpy(), minlength=len(wanted))
    assert not counts[wanted == 0].any()
    statistic, limit = chi_square(counts, wanted * len(drawn.token))
    assert statistic <= limit
