"""What to do with a session's state while its tool runs: keep it, demote it, or let it go. A pure function of costs.

All costs are seconds of computing. Holding a byte costs rent, which is what others lose because it isn't theirs. It is
the ski rental problem with a known distribution: keep for a while, and give up when the tool takes longer than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

Choice = Literal["keep", "demote", "drop"]
Below = Literal["demote", "drop"]

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
"""The levels of the quantiles in which waiting times are told."""
UNKNOWN_S = (0.1, 0.5, 2.0, 8.0, 30.0, 120.0)
"""Quantiles at these levels for a tool that nothing is known of."""


class Wait(NamedTuple):
    """A wait of so many seconds, with this chance."""

    seconds: float
    chance: float


def spread(quantiles_s: Sequence[float], levels: Sequence[float] = LEVELS) -> tuple[Wait, ...]:
    """Waits of which quantiles are known: each stands for what lies nearer to it than to its neighbours.

    Raises ValueError unless there are as many as levels, none below zero, and they rise.
    """
    if len(quantiles_s) != len(levels) or not all(a <= b for a, b in pairwise((0.0, *quantiles_s))):
        raise ValueError(f"expected {len(levels)} rising quantiles of a wait in seconds, got {list(quantiles_s)!r}")
    borders = (0.0, *((a + b) / 2 for a, b in pairwise(levels)), 1.0)
    return tuple(Wait(seconds, b - a) for seconds, (a, b) in zip(quantiles_s, pairwise(borders), strict=True))


@dataclass(frozen=True, slots=True)
class Stake:
    """What one tip is worth: its size, the seconds of computing it again, and of moving it down and up a tier.

    `store_s` and `load_s` are None where there is no lower tier.
    """

    num_bytes: int
    recompute_s: float
    store_s: float | None = None
    load_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rent:
    """Seconds of computing that a byte costs for each second that it is held, on the device and in the lower tier."""

    device: float = 0.0
    lower: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Keep for `hold_s` seconds (0 where the choice is another), then `after`; `cost_s` is expected of it."""

    choice: Choice
    hold_s: float
    after: Literal["demote", "drop"]
    cost_s: float


def decide(waits: Sequence[Wait], stake: Stake, rent: Rent) -> Decision:
    """The cheapest of all times to hold. Raises ValueError where nothing is known of the wait."""
    if not waits:
        raise ValueError("no wait is given; tell at least one")
    return min(_plans(waits, stake, rent), key=lambda plan: plan.cost_s)


def _plans(waits: Sequence[Wait], stake: Stake, rent: Rent) -> Iterator[Decision]:
    """One plan for each time at which the tool may return; between two of them waiting longer changes nothing."""
    for hold_s in (0.0, *(wait.seconds for wait in waits)):
        held = sum(min(wait.seconds, hold_s) * wait.chance for wait in waits)
        late = [Wait(wait.seconds - hold_s, wait.chance) for wait in waits if wait.seconds > hold_s]
        given_up_s, after = _given_up(late, stake, rent)
        cost_s = rent.device * stake.num_bytes * held + given_up_s
        yield Decision("keep" if hold_s > 0 else after, hold_s, after, cost_s)


def _given_up(late: Sequence[Wait], stake: Stake, rent: Rent) -> tuple[float, Below]:
    """What giving up costs when the tool takes so much longer, and the better way."""
    chance = sum(wait.chance for wait in late)
    drop_s = stake.recompute_s * chance
    if stake.store_s is None or stake.load_s is None:
        return drop_s, "drop"
    left = sum(wait.seconds * wait.chance for wait in late)
    demote_s = (stake.store_s + stake.load_s) * chance + rent.lower * stake.num_bytes * left
    return (demote_s, "demote") if demote_s < drop_s else (drop_s, "drop")
