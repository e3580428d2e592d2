"""Which leaf goes first: a policy gives each a score, and the lowest goes.

A score may not depend on the time of asking, only on facts about the leaf, and it may only rise when the leaf is used:
leaves then stay in a heap, and nobody's score is computed twice between two uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from espalier.radix.cost import RecomputeCost


class Leaf(Protocol):
    """What a policy may know of a node, which has the tokens [begin, end) of a path."""

    @property
    def last_wanted(self) -> float:
        """When it was used last, or until when it is wanted, in seconds."""
        ...

    @property
    def begin(self) -> int:
        """Tokens of the path above."""
        ...

    @property
    def end(self) -> int:
        """Tokens of the path, the leaf's included."""
        ...


class Policy(Protocol):
    """Decides the order of eviction."""

    def score(self, leaf: Leaf) -> float:
        """The leaf's score, in seconds: what was used a second later may score a second more."""
        ...


@dataclass(frozen=True, slots=True)
class LeastRecent:
    """The least recently used leaf goes first."""

    def score(self, leaf: Leaf) -> float:
        """When it was used last."""
        return leaf.last_wanted


@dataclass(frozen=True, slots=True)
class LeastValue:
    """The leaf that is worth least by token goes first.

    Its worth is what computing it again would cost, times the chance that it is asked for, which halves with every
    `half_life_s` since its last use. The logarithm of that keeps its order as time goes by, which a heap needs.
    """

    cost: RecomputeCost = field(default_factory=RecomputeCost)
    half_life_s: float = 60.0

    def score(self, leaf: Leaf) -> float:
        """Last use, later by a half-life for each doubling of the cost by token."""
        by_token = self.cost.seconds(leaf.begin, leaf.end) / max(1, leaf.end - leaf.begin)
        return leaf.last_wanted + self.half_life_s * math.log2(by_token / self.cost.per_token_s)
