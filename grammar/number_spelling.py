"""How numbers are spelled, and which beginnings of a spelling can still become a number of a set.

    [-] (0 | 1-9 digits) [. digits] [e [+-] digits]

An exponent follows only a single digit that is not zero, as in every float's shortest form; digits are bounded so
that each float64 and far longer integers fit. All arithmetic is on fractions; the sign is left out: sets are mirrored
for negative numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from itertools import takewhile
from math import ceil, floor

from espalier.grammar.lattice import Clause
from espalier.grammar.number_set import Interval, NumberSet
from espalier.grammar.value import number_text

INTEGER_DIGITS = 64
FRACTION_DIGITS = 64
EXPONENT_DIGITS = 3
MAX_EXPONENT = 400
TRIES = 64  # neighbouring candidates: enough wherever `apart` steps could hit a few in a row
_DIGITS = frozenset(b"0123456789")


class Phase(IntEnum):
    """Where in a number we are."""

    START = 0  # nothing but perhaps a sign
    ZERO = 1
    INTEGER = 2
    POINT = 3
    FRACTION = 4
    EXPONENT = 5
    EXPONENT_SIGN = 6
    EXPONENT_DIGITS = 7


COMPLETE = frozenset({Phase.ZERO, Phase.INTEGER, Phase.FRACTION, Phase.EXPONENT_DIGITS})


@dataclass(frozen=True, slots=True)
class Prefix:
    """What has been read of a number after its sign."""

    phase: Phase = Phase.START
    digits: int = 0  # of integer part and fraction, as one integer
    num_integer: int = 0
    num_fraction: int = 0
    exponent: int = 0
    num_exponent: int = 0
    shrinks: bool = False  # the exponent is negative

    def follow(self, byte: int) -> Prefix | None:
        """The prefix with one more byte; None if no number begins so."""
        if byte in _DIGITS:
            return self._digit(byte - 48)
        if byte == 46 and self.phase in (Phase.ZERO, Phase.INTEGER):
            return Prefix(Phase.POINT, self.digits, self.num_integer)
        if byte == 101 and self.takes_exponent:
            return Prefix(Phase.EXPONENT, self.digits, self.num_integer, self.num_fraction)
        if byte in b"+-" and self.phase is Phase.EXPONENT:
            return Prefix(Phase.EXPONENT_SIGN, self.digits, 1, self.num_fraction, shrinks=byte == 45)
        return None

    def _digit(self, digit: int) -> Prefix | None:
        if self.phase is Phase.START:
            return Prefix(Phase.INTEGER, digit, 1) if digit else Prefix(Phase.ZERO, 0, 1)
        if self.phase is Phase.INTEGER and self.num_integer < INTEGER_DIGITS:
            return Prefix(Phase.INTEGER, self.digits * 10 + digit, self.num_integer + 1)
        if self.phase in (Phase.POINT, Phase.FRACTION) and self.num_fraction < FRACTION_DIGITS:
            return Prefix(Phase.FRACTION, self.digits * 10 + digit, self.num_integer, self.num_fraction + 1)
        if self.phase >= Phase.EXPONENT and self.num_exponent < EXPONENT_DIGITS:
            exponent = self.exponent * 10 + digit
            if exponent <= MAX_EXPONENT:
                return Prefix(
                    Phase.EXPONENT_DIGITS,
                    self.digits,
                    1,
                    self.num_fraction,
                    exponent,
                    self.num_exponent + 1,
                    self.shrinks,
                )
        return None

    @property
    def takes_exponent(self) -> bool:
        """Whether an `e` may follow."""
        if self.phase is Phase.INTEGER:
            return self.num_integer == 1
        return self.phase is Phase.FRACTION and self.num_integer == 1 and self.leading != 0

    @property
    def leading(self) -> int:
        """The integer part."""
        return self.digits // int(10**self.num_fraction)

    @property
    def mantissa(self) -> Fraction:
        """What stands before the exponent."""
        return Fraction(self.digits, 10**self.num_fraction)

    @property
    def hull(self) -> Interval:
        """An interval around all numbers that begin so."""
        if self.phase is Phase.START:
            return Interval(Fraction(0), True, None, False)
        if self.phase >= Phase.EXPONENT or (self.num_integer == 1 and self.leading):
            return Interval(Fraction(0), False, None, False)
        if self.phase is Phase.INTEGER:
            return Interval(self.mantissa, True, None, False)
        return Interval(self.mantissa, True, self.mantissa + Fraction(1, 10**self.num_fraction), False)

    @property
    def value(self) -> Fraction:
        """The number, if it ends here."""
        if self.phase is Phase.EXPONENT_DIGITS:
            return self.mantissa * Fraction(10) ** (-self.exponent if self.shrinks else self.exponent)
        return self.mantissa

    def completion(self, numbers: NumberSet) -> str | None:
        """A short tail that makes it a number of the set; None if there is none."""
        if not numbers.pieces:
            return None
        if self.phase in COMPLETE and self.value in numbers:
            return ""
        if self.phase >= Phase.EXPONENT:
            return self._end_exponent(numbers)
        found = self._plain(numbers)
        return self._scaled(numbers) if found is None else found

    def _end_exponent(self, numbers: NumberSet) -> str | None:
        for num_digits in range(max(1 - self.num_exponent, 0), EXPONENT_DIGITS - self.num_exponent + 1):
            for tail in range(10**num_digits):
                text = str(tail).rjust(num_digits, "0") if num_digits else ""
                ended: Prefix | None = self
                for byte in text.encode():
                    ended = ended and ended.follow(byte)
                if ended is not None and ended.value in numbers:
                    return text
        if self.phase is Phase.EXPONENT:
            shrunk = self.follow(45)
            tail_text = shrunk and shrunk._end_exponent(numbers)
            return None if tail_text is None else f"-{tail_text}"
        return None

    def _plain(self, numbers: NumberSet) -> str | None:
        """Without an exponent."""
        for reach in self._reaches():
            found = find(numbers, reach, FRACTION_DIGITS)
            if found is not None:
                whole, _, fraction = (number_text(found) or "").partition(".")
                if self.phase in (Phase.POINT, Phase.FRACTION):
                    return fraction.ljust(max(self.num_fraction, 1), "0")[self.num_fraction :]
                return whole[self.num_integer :] + ("." + fraction if fraction else "")
        return None

    def _reaches(self) -> Iterator[Interval]:
        """The intervals that numbers without exponent fill which begin so."""
        if self.phase is Phase.START:
            yield Interval(Fraction(0), True, Fraction(10) ** INTEGER_DIGITS, False)
        elif self.phase is Phase.INTEGER:
            for more in range(INTEGER_DIGITS - self.num_integer + 1):
                scale = 10**more
                yield Interval(Fraction(self.digits * scale), True, Fraction((self.digits + 1) * scale), False)
        else:
            yield Interval(self.mantissa, True, self.mantissa + Fraction(1, 10**self.num_fraction), False)

    def _scaled(self, numbers: NumberSet) -> str | None:
        """With an exponent: the mantissa is what has been read, or more digits."""
        if self.phase is Phase.START:
            low, high = Fraction(1), Fraction(10)
        elif self.num_integer == 1 and self.leading:
            low, high = self.mantissa, self.mantissa + Fraction(1, 10**self.num_fraction)
        else:
            return None
        for interval, allowed in numbers.pieces:
            for exponent in _exponents(low, high, interval):
                scale = Fraction(10) ** exponent
                there = Interval(low * scale, True, high * scale, False).meet(interval)
                for clause in allowed if there else ():
                    assert there is not None
                    found = find_in(_shrunk(there, scale), _finer(clause, scale), FRACTION_DIGITS)
                    if found is not None:
                        return self._with_exponent(found, exponent)
        return None

    def _with_exponent(self, mantissa: Fraction, exponent: int) -> str:
        whole, _, fraction = (number_text(mantissa) or "").partition(".")
        if self.phase in (Phase.POINT, Phase.FRACTION):
            tail = fraction.ljust(max(self.num_fraction, 1), "0")[self.num_fraction :]
        else:
            tail = whole[self.num_integer :] + ("." + fraction if fraction else "")
        return f"{tail}e{exponent}"


def _shrunk(interval: Interval, scale: Fraction) -> Interval:
    assert interval.low is not None and interval.high is not None
    return Interval(interval.low / scale, interval.low_closed, interval.high / scale, interval.high_closed)


def _finer(clause: Clause, scale: Fraction) -> Clause:
    step = None if clause.step is None else clause.step / scale
    return Clause(step, frozenset(apart / scale for apart in clause.apart))


def _exponents(low: Fraction, high: Fraction, interval: Interval) -> Iterator[int]:
    """The exponents that may bring [low, high) into an interval: those from zero upwards, then the negative ones."""
    if interval.high is not None and interval.high <= 0:
        return
    first = -MAX_EXPONENT
    if interval.low is not None and interval.low > 0:
        first = (
            bisect_right(range(-MAX_EXPONENT, MAX_EXPONENT + 1), interval.low, key=lambda e: high * Fraction(10) ** e)
            - MAX_EXPONENT
        )

    def fits(exponent: int) -> bool:
        return interval.high is None or low * Fraction(10) ** exponent <= interval.high

    yield from takewhile(fits, range(max(first, 0), MAX_EXPONENT + 1))
    yield from filter(fits, range(-1, first - 1, -1))


def find(numbers: NumberSet, reach: Interval, fraction_digits: int) -> Fraction | None:
    """A number of the set in an interval, with few digits after the point; None if there is none."""
    for interval, allowed in numbers.pieces:
        there = interval.meet(reach)
        for clause in allowed if there else ():
            assert there is not None
            found = find_in(there, clause, fraction_digits)
            if found is not None:
                return found
    return None


def find_in(interval: Interval, clause: Clause, fraction_digits: int) -> Fraction | None:
    """A decimal that satisfies a clause, with few digits after the point; the interval begins somewhere."""
    assert interval.low is not None
    if interval.low == interval.high:
        exact = clause.holds(interval.low) and (interval.low * 10**fraction_digits).denominator == 1
        return interval.low if exact else None
    if clause.step is not None:
        return _on_grid(interval, clause, clause.step, fraction_digits)
    for digits in range(fraction_digits + 1):
        found = _on_grid(interval, clause, Fraction(1, 10**digits), fraction_digits)
        if found is not None:
            return found
    return None


def _on_grid(interval: Interval, clause: Clause, step: Fraction, fraction_digits: int) -> Fraction | None:
    """The first few multiples of a step in the interval, tried one by one."""
    assert interval.low is not None
    begin = ceil(interval.low / step)
    if begin * step == interval.low and not interval.low_closed:
        begin += 1
    if interval.high is None:
        end = begin + TRIES
    else:
        end = floor(interval.high / step) + 1
        if (end - 1) * step == interval.high and not interval.high_closed:
            end -= 1
    limit = 10**fraction_digits
    for index in range(begin, min(end, begin + TRIES)):
        number = index * step
        if (number * limit).denominator == 1 and clause.holds(number):
            return number
    return None
