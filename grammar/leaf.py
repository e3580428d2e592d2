"""Frames that nothing is pushed on (strings, numbers, patterns) as rows of int32, for walks of a trie.

b   bytes, 256     s   states of a table
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from espalier.grammar.number_frame import NumberState
from espalier.grammar.part import RegexState, UntilState
from espalier.grammar.state import Pop, State
from espalier.grammar.text import TextMachine
from espalier.grammar.text_frame import BACKSLASH, QUOTE, MachineCore, TextState

DEAD = -1
_LEAVES = NumberState, RegexState, UntilState
_CONTINUATION = np.array([byte & 0xC0 == 0x80 for byte in range(256)])


def is_leaf(state: State) -> bool:
    """Whether this module walks a state's frame: a string whose core is a row of machines, a number, a text."""
    if isinstance(state, TextState):
        return isinstance(state.core, MachineCore)
    return isinstance(state, _LEAVES)


class LeafTable:
    """States by number, in the order in which they were met.

    rows     int32[s, b]   the next state; DEAD; or -2 - outcome where the byte ends the frame
    counts   int8[s, b]    code points that begin with the byte: of a string's content, escapes decoded
    is_made  bool[s]       whether the row is filled
    endings  int32[s]      the outcome if the frame may end before the next byte, -1 where it may not
    """

    def __init__(self) -> None:
        self.states: list[State] = []
        self._ids: dict[Hashable, int] = {}
        self.is_made = np.zeros(16, dtype=np.bool_)
        self.rows = np.full((16, 256), DEAD, dtype=np.int32)
        self.counts = np.zeros((16, 256), dtype=np.int8)
        self.endings = np.full(16, -1, dtype=np.int32)

    def _grow(self) -> None:
        """Room for twice as many states."""
        self.is_made = np.concatenate([self.is_made, np.zeros_like(self.is_made)])
        self.rows = np.concatenate([self.rows, np.full_like(self.rows, DEAD)])
        self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
        self.endings = np.concatenate([self.endings, np.full_like(self.endings, -1)])

    def number(self, state: State) -> int:
        """A state's number; states with equal `mask_key` have one."""
        key = state.mask_key
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.states)
            if found >= len(self.rows):
                self._grow()
            self.states.append(state)
            if not isinstance(state, TextState):
                outcome = state.at_end()
                self.endings[found] = -1 if outcome is None else outcome
        return found

    def make(self, numbers: np.ndarray) -> None:
        """Fill the rows of states; each may be named often."""
        missing = numbers[~self.is_made[numbers]]
        for number in np.unique(missing).tolist() if missing.size else ():
            self.make_one(number)

    def make_one(self, number: int) -> None:
        """Fill the row of a state."""
        if self.is_made[number]:
            return
        self.is_made[number] = True
        state = self.states[number]
        if isinstance(state, TextState) and not state.pending:
            self._content(number, state)
        elif isinstance(state, RegexState):
            self._pattern(number, state)
        else:
            self._stepwise(number, state)

    def _stepwise(self, number: int, state: State, candidates: bytes | None = None) -> None:
        for byte in state.candidates() if candidates is None else candidates:
            step = state.step(byte)
            if isinstance(step, State):
                after = self.number(step)
                self.rows[number, byte] = after
                if isinstance(state, TextState) and not state.pending and byte & 0xC0 != 0x80:
                    self.counts[number, byte] = 1  # an escape says its code point at its end, but needs room for it
            elif isinstance(step, Pop) and not step.again:
                self.rows[number, byte] = -2 - step.outcome

    def _content(self, number: int, state: TextState) -> None:
        """Content by the machines' rows; the quote and escapes one by one."""
        core = state.core
        assert isinstance(core, MachineCore)
        rows = _machine_rows(core)
        rows[:, :0x20] = rows[:, QUOTE] = rows[:, BACKSLASH] = DEAD
        live = (rows >= 0).any(axis=0)
        for count, wanted in ((0, _CONTINUATION), (1, ~_CONTINUATION)):
            chosen = np.flatnonzero(wanted & live)
            if chosen.size:
                self.rows[number, chosen] = self._after(core, rows[:, chosen], count, state.any_escapes)
                self.counts[number, chosen] = count
        self._stepwise(number, state, bytes([QUOTE, BACKSLASH]))

    def _after(self, core: MachineCore, targets: np.ndarray, count: int, any_escapes: bool) -> np.ndarray:
        """The numbers of the states in which the machines have come to their states `targets` (int32[machines, n])."""
        columns, where = _distinct(targets)
        found = []
        for column in columns:
            after = core.frame.core(
                tuple(
                    None if state is None else _reached(machine, state, target, count, core.frame.far)
                    for machine, state, target in zip(core.frame.machines, core.states, column, strict=True)
                )
            )
            found.append(DEAD if after is None else self.number(after.shell(any_escapes)))
        numbers: np.ndarray = np.array(found, dtype=np.int32)[where]
        return numbers

    def _pattern(self, number: int, state: RegexState) -> None:
        machine, (at, count) = state.machine, state.at
        row = machine.row(at)
        for wanted in (_CONTINUATION, ~_CONTINUATION):
            chosen = np.flatnonzero(wanted & (row >= 0))
            if chosen.size:
                now = count + (not wanted[0x80])
                distinct, where = np.unique(row[chosen], return_inverse=True)
                found = [
                    self.number(RegexState(machine, (target, now))) if machine.lives(target, now) else DEAD
                    for target in distinct.tolist()
                ]
                self.rows[number, chosen] = np.array(found, dtype=np.int32)[where]


def _machine_rows(core: MachineCore) -> np.ndarray:
    """int32[machines, b]: the machines' rows; DEAD for those that are dead."""
    dead = np.full(256, DEAD, dtype=np.int32)
    states = zip(core.frame.machines, core.states, strict=True)
    return np.stack([dead if state is None else machine.row(state[0]) for machine, state in states])


def _distinct(targets: np.ndarray) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The different columns, and which of them each column is."""
    if len(targets) == 1:
        found, where = np.unique(targets[0], return_inverse=True)
        return [(target,) for target in found.tolist()], where
    numbers: dict[tuple[int, ...], int] = {}
    where = np.array([numbers.setdefault(tuple(column), len(numbers)) for column in targets.T.tolist()])
    return list(numbers), where


def _reached(machine: TextMachine, state: tuple[int, int], target: int, count: int, far: int) -> tuple[int, int] | None:
    """A machine's state, None if it is dead; its count of code points stays as long as no token makes it matter."""
    if target >= 0 and machine.counts and any(part >= 0 for part in machine.horizon(*state, far)[1:]):
        state = state[0], state[1] + count
    return (target, state[1]) if target >= 0 and machine.lives(target, state[1]) else None
