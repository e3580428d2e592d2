"""Sets of numbers: what `minimum`, `multipleOf`, `type: integer`, `const` and their Boolean combinations allow.

A set is a row of disjoint pieces in ascending order, each an interval with a lattice. Exact: numbers are fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from espalier.grammar import lattice
from espalier.grammar.lattice import ALL, Lattice


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high` (None: without end); an end belongs to it if it is closed there."""

    low: Fraction | None
    low_closed: bool
    high: Fraction | None
    high_closed: bool

    def __contains__(self, number: Fraction) -> bool:
        after = self.low is None or number > self.low or (self.low_closed and number == self.low)
        return after and (self.high is None or number < self.high or (self.high_closed and number == self.high))

    def negated(self) -> Interval:
        """The interval mirrored at zero."""
        low = None if self.high is None else -self.high
        return Interval(low, self.high_closed, None if self.low is None else -self.low, self.low_closed)

    def meet(self, other: Interval) -> Interval | None:
        """What both contain; None if nothing."""
        low, low_closed = self.low, self.low_closed
        if other.low is not None and (low is None or other.low > low or (other.low == low and not other.low_closed)):
            low, low_closed = other.low, other.low_closed
        high, high_closed = self.high, self.high_closed
        if other.high is not None and (
            high is None or other.high < high or (other.high == high and not other.high_closed)
        ):
            high, high_closed = other.high, other.high_closed
        if low is not None and high is not None and (low > high or (low == high and not (low_closed and high_closed))):
            return None
        return Interval(low, low_closed, high, high_closed)


LINE = Interval(None, False, None, False)
Piece = tuple[Interval, Lattice]


@dataclass(frozen=True, slots=True)
class NumberSet:
    """A set of numbers, in one form for one set of ends; made by the functions below and by `& | ~`."""

    pieces: tuple[Piece, ...]

    def __contains__(self, number: int | Fraction) -> bool:
        exact = Fraction(number)
        return any(exact in interval and lattice.holds(allowed, exact) for interval, allowed in self.pieces)

    def __and__(self, other: NumberSet) -> NumberSet:
        if EVERY in (self, other):
            return other if self == EVERY else self
        return _merge([self, other], lambda here: lattice.both(*here))

    def __or__(self, other: NumberSet) -> NumberSet:
        if NOTHING in (self, other):
            return other if self == NOTHING else self
        return _merge([self, other], lambda here: lattice.either(*here))

    def __invert__(self) -> NumberSet:
        return _merge([self], lambda here: lattice.complement(*here))

    def negated(self) -> NumberSet:
        """The set mirrored at zero."""
        return NumberSet(tuple((interval.negated(), allowed) for interval, allowed in reversed(self.pieces)))


EVERY, NOTHING = NumberSet(((LINE, ALL),)), NumberSet(())


def between(low: Fraction | None, low_closed: bool, high: Fraction | None, high_closed: bool) -> NumberSet:
    """The numbers of an interval."""
    interval = LINE.meet(Interval(low, low_closed, high, high_closed))
    return NOTHING if interval is None else NumberSet(((interval, ALL),))


def multiples(step: Fraction) -> NumberSet:
    """The multiples of a positive number."""
    return NumberSet(((LINE, lattice.multiples(step)),))


INTEGERS = multiples(Fraction(1))


def points(numbers: Iterable[int | Fraction]) -> NumberSet:
    """A finite set."""
    ordered = sorted({Fraction(number) for number in numbers})
    return NumberSet(tuple((Interval(number, True, number, True), ALL) for number in ordered))


def is_infinite(numbers: NumberSet) -> bool:
    """Whether a set has infinitely many members, as far as its intervals tell."""
    return any(
        interval.low != interval.high
        and (interval.low is None or interval.high is None or any(part.step is None for part in allowed))
        for interval, allowed in numbers.pieces
    )


def _elementary(ends: list[Fraction]) -> Iterator[Interval]:
    """The line cut at its ends: open intervals and points by turns."""
    if not ends:
        yield LINE
        return
    yield Interval(None, False, ends[0], False)
    for low, high in pairwise(ends):
        yield Interval(low, True, low, True)
        yield Interval(low, False, high, False)
    yield Interval(ends[-1], True, ends[-1], True)
    yield Interval(ends[-1], False, None, False)


def _merge(sets: list[NumberSet], combine: Callable[[list[Lattice]], Lattice]) -> NumberSet:
    """Combines the lattices of each elementary interval, and joins neighbours with one lattice."""
    ends = sorted(
        {end for s in sets for interval, _ in s.pieces for end in (interval.low, interval.high) if end is not None}
    )
    found: list[Piece] = []
    cursors = [0] * len(sets)
    for interval in _elementary(ends):
        is_point = interval.low is not None and interval.low == interval.high
        here = [_lattice_of(s, interval, cursors, index) for index, s in enumerate(sets)]
        allowed = combine(here)
        if is_point and interval.low is not None:
            allowed = ALL if lattice.holds(allowed, interval.low) else lattice.NONE
        if allowed:
            _append(found, interval, allowed)
    return NumberSet(tuple(found))


def _lattice_of(numbers: NumberSet, interval: Interval, cursors: list[int], index: int) -> Lattice:
    """The lattice that a set has all over an elementary interval: intervals come in ascending order."""
    while cursors[index] < len(numbers.pieces):
        piece, allowed = numbers.pieces[cursors[index]]
        if piece.meet(interval) is not None:
            return allowed
        if piece.high is not None and interval.low is not None and piece.high <= interval.low:
            cursors[index] += 1
            continue
        return lattice.NONE
    return lattice.NONE


def _append(found: list[Piece], interval: Interval, allowed: Lattice) -> None:
    """Adds a piece, joined with the one before where they touch and agree: a point with any lattice that it is on."""
    if found:
        before = found[-1][0]
        touching = (
            before.high is not None and before.high == interval.low and (before.high_closed or interval.low_closed)
        )
        if touching and (joined := _joint(found[-1], (interval, allowed))) is not None:
            found[-1] = (Interval(before.low, before.low_closed, interval.high, interval.high_closed), joined)
            return
    found.append((interval, allowed))


def _is_point(interval: Interval) -> bool:
    return interval.low is not None and interval.low == interval.high


def _joint(left: Piece, right: Piece) -> Lattice | None:
    """The one lattice of two touching pieces, None if they need two."""
    if left[1] == right[1]:
        return left[1]
    for point, other in ((left, right), (right, left)):
        if (
            _is_point(point[0])
            and not _is_point(other[0])
            and point[0].low is not None
            and lattice.holds(other[1], point[0].low)
        ):
            return other[1]
    return None
