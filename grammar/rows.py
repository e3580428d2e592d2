"""The automata of grammars as arrays, for a device that walks the vocabulary's trie by itself.

One `Rows` serves any number of grammars, which share the rows of free strings and numbers. It keeps alive what it has
numbered: whoever owns it starts a new one when it has grown too large.

States and returns are numbered as they are met; their entries are made when somebody asks. A reading is a state and a
stack of returns, the innermost last. A byte b in state s is looked up in `rows[s, b]`:

    DEAD            the byte is not allowed
    0 ... 2**28-1   the next state, the stack staying as it is
    PUSH + p        pushes[p] = (state, return): the state is the next one, the return goes onto the stack
    POP + 2 o + a   the frame ends with outcome o. The innermost return r leaves the stack, and the next state is
                    resumes[r, o]; if a is 1 the byte is looked up once more, there.

    rows      int32[states, 256]           is_made   bool[states]    whether a row is filled; if not: a miss
    pushes    int32[pushes, 2]             resumes   int32[returns, outcomes]
    ends      int32[states]                the outcome if the frame may end before the next byte, else -1

An entry of `resumes` is a state, or one of

    LEAVE     the next return leaves the stack, too, with outcome 0; below the last one lies the state END, in which the
              answer is complete
    MISSING   not made yet
    HOST      what follows depends on what was read (names and items that must not come twice): only a `Cursor` can say
    BRANCH    behind a part of a sequence: what follows may begin in several ways, which is the host's to say, too

So is what follows a state inside a token whose outcome in `ends` the innermost return has BRANCH for. (Not at the first
byte: a cursor has a reading for each way there.)

With the arrays of `TokenTrie` (`byte`, `end`, `kid_first`, `kids`, `first`, `tokens`) that is all that a walk needs. A
token of which a walk meets a miss is to be asked of the host. No array shrinks or moves entries; they grow by doubling,
so a device copies what is new behind the numbers that it knows.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

import numpy as np

from espalier.grammar.state import Outcome, Pop, Push, Return, State
from espalier.grammar.thread import END as END_STATE
from espalier.grammar.thread import Sequel, Thread

DEAD, MISSING, HOST, LEAVE, BRANCH = -1, -2, -3, -4, -5
PUSH, POP = 1 << 28, 1 << 29
END = 0

Stack: TypeAlias = tuple[int, ...]


class MissError(LookupError):
    """The arrays do not say what comes next: `state` has no row, or `back` no entry for `outcome`.

    `is_host`: no array ever will.
    """

    def __init__(
        self, state: int | None = None, back: int | None = None, outcome: Outcome | None = None, is_host: bool = False
    ) -> None:
        super().__init__(f"state {state}, return {back}, outcome {outcome}")
        self.state, self.back, self.outcome, self.is_host = state, back, outcome, is_host


class Rows:
    """The arrays; see the module."""

    def __init__(self) -> None:
        self.rows = np.full((16, 256), DEAD, dtype=np.int32)
        self.is_made = np.zeros(16, dtype=np.bool_)
        self.ends = np.full(16, -1, dtype=np.int32)
        self.pushes = np.full((16, 2), DEAD, dtype=np.int32)
        self.resumes = np.full((16, 1), MISSING, dtype=np.int32)
        self._states: list[State] = []
        self._returns: list[Return] = []
        self._pushes: dict[tuple[int, int], int] = {}
        self._state_numbers: dict[Hashable, int] = {}
        self._return_numbers: dict[Hashable, int] = {}
        self.state(END_STATE)
        self.make(END)

    @property
    def num_states(self) -> int:
        """How many have a number."""
        return len(self._states)

    @property
    def num_bytes(self) -> int:
        """What the arrays take."""
        return self.rows.nbytes + self.is_made.nbytes + self.ends.nbytes + self.pushes.nbytes + self.resumes.nbytes

    def state(self, state: State) -> int:
        """The number of a state."""
        key = state.key
        found = self._state_numbers.get(key)
        if found is None:
            found = self._state_numbers[key] = len(self._states)
            self._states.append(state)
            self.rows = _room(self.rows, found, DEAD)
            self.is_made = _room(self.is_made, found, False)
            self.ends = _room(self.ends, found, -1)
            outcome = state.at_end()
            self.ends[found] = -1 if outcome is None else outcome
        return found

    def back(self, back: Return) -> int:
        """The number of a return."""
        key = back.key
        found = self._return_numbers.get(key)
        if found is None:
            found = self._return_numbers[key] = len(self._returns)
            self._returns.append(back)
            self.resumes = _room(self.resumes, found, MISSING)
        return found

    def place(self, thread: Thread) -> tuple[int, Stack]:
        """A thread's state and stack."""
        stack, frame = list[int](), thread.frame
        while frame is not None:
            stack.append(self.back(frame.back))
            frame = frame.outer
        return self.state(thread.state), tuple(reversed(stack))

    def make(self, number: int) -> None:
        """Fill the row of a state."""
        if self.is_made[number]:
            return
        state = self._states[number]
        for byte in range(256) if state.at_end() is not None else state.candidates():
            step = state.step(byte)
            if step is not None:
                code = self._code(step)  # which may move the arrays
                self.rows[number, byte] = code
        self.is_made[number] = True

    def _code(self, step: State | Push | Pop) -> int:
        if isinstance(step, State):
            return self.state(step)
        if isinstance(step, Pop):
            return POP + 2 * step.outcome + step.again
        key = self.state(step.state), self.back(step.back)
        found = self._pushes.get(key)
        if found is None:
            found = self._pushes[key] = len(self._pushes)
            self.pushes = _room(self.pushes, found, DEAD)
            self.pushes[found] = key
        return PUSH + found

    def make_resume(self, number: int, outcome: Outcome) -> None:
        """Fill an entry of `resumes`."""
        if outcome >= self.resumes.shape[1]:
            more = max(outcome + 1, 2 * self.resumes.shape[1]) - self.resumes.shape[1]
            self.resumes = np.pad(self.resumes, ((0, 0), (0, more)), constant_values=MISSING)
        if self.resumes[number, outcome] == MISSING:
            code = self._resumed(self._returns[number], outcome)
            self.resumes[number, outcome] = code

    def _resumed(self, back: Return, outcome: Outcome) -> int:
        if isinstance(back, Sequel):
            return LEAVE if back.is_part else BRANCH
        if back.wants_text(outcome):
            return HOST
        return self.state(back.resume(outcome, None))

    def advance(self, state: int, stack: Stack, byte: int, is_inside: bool = False) -> tuple[int, Stack] | None:
        """One byte by the arrays alone, as a device does it; None if it is not allowed. Raises MissError.

        `is_inside`: the byte is not the first one of its token.
        """
        if is_inside and stack and self.ends[state] >= 0:
            self._no_branch(stack, int(self.ends[state]))
        while True:
            if not self.is_made[state]:
                raise MissError(state=state)
            code = int(self.rows[state, byte])
            if code == DEAD:
                return None
            if code < PUSH:
                return code, stack
            if code < POP:
                after, back = self.pushes[code - PUSH].tolist()
                return after, (*stack, back)
            outcome, again = divmod(code - POP, 2)
            state, stack = self._popped(stack, outcome)
            if not again:
                return state, stack

    def _no_branch(self, stack: Stack, outcome: Outcome) -> None:
        """MissError if what follows a frame may begin in several ways."""
        while stack:
            after = self._entry(stack[-1], outcome)
            if after in (MISSING, BRANCH):
                raise MissError(back=stack[-1], outcome=outcome, is_host=after == BRANCH)
            if after != LEAVE:
                return
            stack, outcome = stack[:-1], 0

    def _entry(self, back: int, outcome: Outcome) -> int:
        return int(self.resumes[back, outcome]) if outcome < self.resumes.shape[1] else MISSING

    def _popped(self, stack: Stack, outcome: Outcome) -> tuple[int, Stack]:
        while stack:
            back, stack = stack[-1], stack[:-1]
            after = self._entry(back, outcome)
            if after in (MISSING, HOST, BRANCH):
                raise MissError(back=back, outcome=outcome, is_host=after != MISSING)
            if after != LEAVE:
                return after, stack
            outcome = 0
        return END, stack


def _room(array: np.ndarray, number: int, fill: int | bool) -> np.ndarray:
    """An array that has an entry of that number: itself, or one of twice the size."""
    if number < len(array):
        return array
    return np.concatenate([array, np.full_like(array, fill)])
