"""Which numbers a combination of `multipleOf` keywords allows, wherever they lie.

A lattice is a set of clauses, of which a number has to satisfy one: it is a multiple of `step` (None: any number),
and of none of `apart`. Everything is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Clause:
    """Multiples of `step` that are multiples of none of `apart`; all positive."""

    step: Fraction | None
    apart: frozenset[Fraction]

    def holds(self, number: Fraction) -> bool:
        """Whether a number satisfies it."""
        if self.step is not None and (number / self.step).denominator != 1:
            return False
        return all((number / step).denominator != 1 for step in self.apart)

    def both(self, other: Clause) -> Clause | None:
        """What satisfies both; None if nothing does."""
        step = common_multiple(self.step, other.step)
        return clause(step, self.apart | other.apart)


Lattice: TypeAlias = frozenset[Clause]
ALL: Lattice = frozenset({Clause(None, frozenset())})
NONE: Lattice = frozenset()


def common_multiple(left: Fraction | None, right: Fraction | None) -> Fraction | None:
    """The least common multiple of two steps."""
    if left is None or right is None:
        return left if right is None else right
    numerator = math.lcm(left.numerator * right.denominator, right.numerator * left.denominator)
    return Fraction(numerator, left.denominator * right.denominator)


def clause(step: Fraction | None, apart: Iterable[Fraction]) -> Clause | None:
    """A clause without what says nothing; None if no number satisfies it."""
    if step is not None:
        apart = list(apart)
        if any((step / other).denominator == 1 for other in apart):
            return None
    finest = [one for one in apart if not any(one != other and (one / other).denominator == 1 for other in apart)]
    return Clause(step, frozenset(finest))


def multiples(step: Fraction) -> Lattice:
    """The multiples of a positive number."""
    return frozenset({Clause(step, frozenset())})


def both(left: Lattice, right: Lattice) -> Lattice:
    """What is in both."""
    if left == ALL or right == ALL:
        return right if left == ALL else left
    return frozenset(met for a in left for b in right if (met := a.both(b)) is not None)


def either(left: Lattice, right: Lattice) -> Lattice:
    """What is in one of them."""
    return ALL if ALL in (left, right) else left | right


def complement(lattice: Lattice) -> Lattice:
    """What is not in it."""
    outside = ALL
    for part in lattice:
        refuted = {Clause(other, frozenset()) for other in part.apart}
        if part.step is not None:
            refuted.add(Clause(None, frozenset({part.step})))
        outside = both(outside, frozenset(refuted))
    return outside


def holds(lattice: Lattice, number: Fraction) -> bool:
    """Whether a number is in it."""
    return any(part.holds(number) for part in lattice)
