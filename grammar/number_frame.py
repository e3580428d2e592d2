"""The frame of a number: it has no closing byte, so whatever follows it ends it and is read by the parent.

States are shared by all schemas of the process that ask for the same set of numbers; where a set allows everything,
or every integer, a state forgets the digits that it read.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from espalier.grammar.number_set import EVERY, INTEGERS, NOTHING, NumberSet
from espalier.grammar.number_spelling import COMPLETE, Prefix
from espalier.grammar.state import Outcome, Pop, State, Step

_BYTES = b"+-.0123456789e"


class NumberMachine:
    """Reads the numbers of disjoint sets: the outcome is the number of the set."""

    def __init__(self, sets: tuple[NumberSet, ...]) -> None:
        self._sides = {False: sets, True: tuple(s.negated() for s in sets)}
        self._unions = {negative: _union(side) for negative, side in self._sides.items()}
        self._states: dict[Hashable, NumberState] = {}

    def state(self, prefix: Prefix, negative: bool) -> NumberState | None:
        """The state after a prefix; None if no number of the sets begins so."""
        key = self._key(prefix, negative)
        found = self._states.get(key)
        if found is None:
            tail = prefix.completion(self._unions[negative])
            if tail is None:
                return None
            found = self._states[key] = NumberState(self, prefix, negative)
        return found

    def enter(self, byte: int) -> NumberState | None:
        """The state behind a number's first byte; None if no number of the sets begins with it."""
        if not self._unions[False].pieces:
            return None
        if byte == 0x2D:
            return self.state(Prefix(), True)
        prefix = Prefix().follow(byte)
        return None if prefix is None else self.state(prefix, False)

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
        if len(self._sides[negative]) > 1 or self._unions[negative] not in (EVERY, INTEGERS):
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


def _union(sets: tuple[NumberSet, ...]) -> NumberSet:
    union = NOTHING
    for numbers in sets:
        union = union | numbers
    return union


class NumberState(State):
    """Some digits have been read; some number of the sets begins with them."""

    __slots__ = ("_machine", "_negative", "_prefix")

    def __init__(self, machine: NumberMachine, prefix: Prefix, negative: bool) -> None:
        super().__init__()
        self._machine, self._prefix, self._negative = machine, prefix, negative

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
