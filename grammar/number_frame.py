"""The frame of a number: it has no closing byte, so whatever follows it ends it and is read by the parent.

States are shared by all schemas of the process that ask for the same set of numbers. Where all numbers that begin
alike are treated alike, as `minimum: 0` treats those without a sign, a state is that of a set without ends; and where
that allows everything, or every integer, a state forgets the digits that it read.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from espalier.grammar.lattice import Lattice
from espalier.grammar.number_set import EVERY, INTEGERS, LINE, NOTHING, Interval, NumberSet
from espalier.grammar.number_spelling import COMPLETE, FRACTION_DIGITS, INTEGER_DIGITS, Phase, Prefix
from espalier.grammar.state import Outcome, Pop, State, Step

_BYTES = b"+-.0123456789e"
_FEW_PIECES = 16  # of more a search is not slower


class NumberMachine:
    """Reads the numbers of disjoint sets: the outcome is the number of the set."""

    def __init__(self, sets: tuple[NumberSet, ...]) -> None:
        self._sides = {False: sets, True: tuple(s.negated() for s in sets)}
        self._unions = {negative: _union(side) for negative, side in self._sides.items()}
        self._states: dict[Hashable, NumberState] = {}
        self._first: dict[int, NumberState | None] = {}
        self.is_free = sets[-1:] in ((EVERY,), (INTEGERS,)) and not any(numbers.pieces for numbers in sets[:-1])

    def state(self, prefix: Prefix, negative: bool) -> NumberState | None:
        """The state after a prefix; None if no number of the sets begins so."""
        key = self._key(prefix, negative)
        found = self._states.get(key)
        if found is None:
            found = self._made(prefix, negative)
            if found is not None:
                self._states[key] = found
        return found

    def _made(self, prefix: Prefix, negative: bool) -> NumberState | None:
        if not self.is_free and sum(len(numbers.pieces) for numbers in self._sides[negative]) <= _FEW_PIECES:
            met = self._met(prefix.hull, negative)
            if not met:
                return None
            endless = self._endless(met, prefix.hull)
            if endless is not None and endless is not self:
                return endless.state(prefix, negative)
        tail = prefix.completion(self._unions[negative])
        return None if tail is None else NumberState(self, prefix, negative)

    def _met(self, hull: Interval, negative: bool) -> list[_Met]:
        """What the sets have in an interval."""
        return [
            (index, interval, allowed)
            for index, numbers in enumerate(self._sides[negative])
            for interval, allowed in numbers.pieces
            if interval.meet(hull) is not None
        ]

    @staticmethod
    def _endless(met: list[_Met], hull: Interval) -> NumberMachine | None:
        """The machine without ends that reads an interval's numbers alike, with the same outcome; None if none does."""
        index, interval, allowed = met[0]
        if len(met) > 1 or interval.meet(hull) != hull:
            return None
        return number_machine((*[NOTHING] * index, NumberSet(((LINE, allowed),))))

    def near(self, prefix: Prefix, negative: bool, num_digits: int) -> NumberState | None:
        """A state that allows the same tokens, if these have at most so many digits in a row; None if none is known."""
        machine: NumberMachine | None = self
        if not self.is_free:
            if prefix.phase is not Phase.INTEGER or prefix.num_integer < 2:
                return None
            within = Interval(prefix.mantissa, True, (prefix.mantissa + 1) * 10**num_digits, False)
            met = self._met(within, negative)
            machine = self._endless(met, within) if met else None
            if machine is None or not machine.is_free:
                return None
        assert machine is not None
        fewer = machine._fewer(prefix, num_digits)
        return None if fewer is None else machine.state(fewer, negative)

    def _fewer(self, prefix: Prefix, num_digits: int) -> Prefix | None:
        """Where digits were forgotten, a prefix with as few as say the same; None if their number matters."""
        if prefix.phase is Phase.INTEGER and 2 <= prefix.num_integer <= INTEGER_DIGITS - num_digits:
            return Prefix(Phase.INTEGER, 10, 2)
        is_whole = prefix.num_integer > 1
        if prefix.phase is Phase.POINT and is_whole:
            return Prefix(Phase.POINT, 10, 2)
        if prefix.phase is not Phase.FRACTION or prefix.num_fraction > FRACTION_DIGITS - num_digits:
            return None
        if self._unions[False] != EVERY and (prefix.takes_exponent or prefix.digits % 10**prefix.num_fraction):
            return None
        leading = 10 if is_whole else min(prefix.leading, 1)
        return Prefix(Phase.FRACTION, leading * 10, 1 + is_whole, 1)

    def enter(self, byte: int) -> NumberState | None:
        """The state behind a number's first byte; None if no number of the sets begins with it."""
        if byte not in self._first:
            prefix = Prefix() if byte == 0x2D else Prefix().follow(byte)
            is_begun = prefix is not None and bool(self._unions[False].pieces)
            self._first[byte] = self.state(prefix, byte == 0x2D) if prefix and is_begun else None
        return self._first[byte]

    def outcome(self, prefix: Prefix, negative: bool) -> Outcome | None:
        """The set of which the prefix is a number."""
        if prefix.phase not in COMPLETE:
            return None
        value = prefix.value
        return next((index for index, numbers in enumerate(self._sides[negative]) if value in numbers), None)

    def completion(self, prefix: Prefix, negative: bool) -> tuple[bytes, Outcome]:
        """A tail of a live prefix, and the set that it leads to."""
        tail = prefix.completion(self._unions[negative])
        assert tail is not None
        ended: Prefix | None = prefix
        for byte in tail.encode():
            ended = ended and ended.follow(byte)
        outcome = None if ended is None else self.outcome(ended, negative)
        assert outcome is not None
        return tail.encode(), outcome

    def _key(self, prefix: Prefix, negative: bool) -> Hashable:
        # Behind the point a zero before it still counts: no exponent follows 0.5.
        shape = (prefix.phase, prefix.num_integer, prefix.num_fraction, prefix.num_integer == 1 and not prefix.leading)
        if not self.is_free:
            return (negative, prefix)
        if self._unions[negative] == EVERY:
            return (shape, prefix.num_exponent, prefix.exponent, prefix.takes_exponent)
        fraction = prefix.digits % 10**prefix.num_fraction if prefix.num_fraction else 0
        if fraction:
            return (negative, prefix)
        return (
            shape,
            prefix.num_exponent,
            prefix.exponent,
            prefix.shrinks,
            prefix.takes_exponent,
            prefix.shrinks and prefix.digits,
        )


_Met = tuple[int, Interval, Lattice]  # the number of a set, and a piece of it


def _union(sets: tuple[NumberSet, ...]) -> NumberSet:
    union = NOTHING
    for numbers in sets:
        union = union | numbers
    return union


class NumberState(State):
    """Some digits have been read; some number of the sets begins with them."""

    __slots__ = ("_machine", "_near", "_negative", "_prefix")

    def __init__(self, machine: NumberMachine, prefix: Prefix, negative: bool) -> None:
        super().__init__()
        self._machine, self._prefix, self._negative = machine, prefix, negative
        self._near: tuple[int, NumberState] | None = None

    def near(self, num_digits: int) -> NumberState:
        """A state that many states share and that allows the same tokens, of at most so many digits in a row."""
        if self._near is None or self._near[0] != num_digits:
            found = self._machine.near(self._prefix, self._negative, num_digits)
            self._near = num_digits, found or self
        return self._near[1]

    def make(self, byte: int) -> Step:
        """A digit or sign goes on; any other byte ends a complete number."""
        if byte in _BYTES:
            following = self._prefix.follow(byte)
            return None if following is None else self._machine.state(following, self._negative)
        outcome = self.at_end()
        return None if outcome is None else Pop(outcome, again=True)

    def candidates(self) -> bytes:
        """What numbers are spelled with; what may follow a number is the parent's."""
        return _BYTES

    def at_end(self) -> Outcome | None:
        """The set of which this is a number as it stands."""
        return self._machine.outcome(self._prefix, self._negative)

    def completion(self) -> tuple[bytes, Outcome]:
        """More digits, where some are needed."""
        return self._machine.completion(self._prefix, self._negative)


@lru_cache(maxsize=4096)
def number_machine(sets: tuple[NumberSet, ...]) -> NumberMachine:
    """The machine of these sets: one in the process."""
    return NumberMachine(sets)
