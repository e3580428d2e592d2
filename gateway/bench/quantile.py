"""Quantiles of measured times, and how they are summed up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, between two of them linearly (numpy's default). Not empty."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class Spread:
    """How values spread."""

    mean: float
    p50: float
    p95: float
    p99: float


def spread(values: Sequence[float]) -> Spread | None:
    """None for no values."""
    if not values:
        return None
    return Spread(math.fsum(values) / len(values), *(quantile(values, share) for share in (0.5, 0.95, 0.99)))
