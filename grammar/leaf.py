"""Frames that nothing is pushed on (strings, numbers, patterns) as rows of int32, and walks of a trie through them.

A table holds the states of such frames that a walk has met. What a walk finds depends on nothing but the trie, the node
where it begins and the state, so slices are kept with the vocabulary and shared by every grammar of the process.

    b   bytes, 256     s   states of a table     n   nodes of a trie
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from espalier.grammar.number_frame import NumberState
from espalier.grammar.part import RegexState, UntilState
from espalier.grammar.state import Pop, State
from espalier.grammar.text_frame import BACKSLASH, QUOTE, MachineCore, TextState
from espalier.grammar.trie import TokenTrie

DEAD = -1
_CONTINUATION = np.array([byte & 0xC0 == 0x80 for byte in range(256)])
_NARROW = 24  # nodes: fewer are followed one by one, since one level costs as much as some dozens of them


def is_leaf(state: State) -> bool:
    """Whether this module walks a state's frame: a string whose core is a row of machines, a number, a text."""
    if isinstance(state, TextState):
        return isinstance(state.core, MachineCore)
    return isinstance(state, NumberState | RegexState | UntilState)


class LeafTable:
    """States by number, in the order in which they were met.

    rows     int32[s, b]   the next state; DEAD; or -2 - outcome where the byte ends the frame
    counts   int8[s, b]    code points that the byte completes the beginning of: of a string's content, escapes decoded
    endings  int32[s]      the outcome if the frame may end before the next byte, -1 where it may not
    """

    def __init__(self) -> None:
        self.states: list[State] = []
        self._ids: dict[Hashable, int] = {}
        self._is_made = bytearray()
        self.rows = np.full((16, 256), DEAD, dtype=np.int32)
        self.counts = np.zeros((16, 256), dtype=np.int8)
        self.endings = np.full(16, -1, dtype=np.int32)

    def _grow(self) -> None:
        """Room for twice as many states."""
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
            self._is_made.append(0)
            if not isinstance(state, TextState):
                outcome = state.at_end()
                self.endings[found] = -1 if outcome is None else outcome
        return found

    def make(self, numbers: list[int]) -> None:
        """Fill the rows of states."""
        for number in numbers:
            if not self._is_made[number]:
                self._is_made[number] = 1
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
                if isinstance(step, TextState) and not step.pending and (byte & 0xC0 != 0x80):
                    self.counts[number, byte] = 1
            elif isinstance(step, Pop) and not step.again:
                self.rows[number, byte] = -2 - step.outcome

    def _content(self, number: int, state: TextState) -> None:
        core = state.core
        assert isinstance(core, MachineCore)
        if len(core.states) > 1:
            self._stepwise(number, state)
            return
        machine, at = core.frame.machines[0], core.states[0]
        assert at is not None
        row = machine.row(at[0]).copy()
        row[:0x20] = row[QUOTE] = row[BACKSLASH] = DEAD
        is_far = not machine.counts or all(part < 0 for part in machine.horizon(*at, core.frame.far)[1:])  # type: ignore[index]
        for count, wanted in ((at[1], _CONTINUATION), (at[1] + 1, ~_CONTINUATION)):
            chosen = np.flatnonzero(wanted & (row >= 0))
            if chosen.size:
                count = at[1] if is_far else count
                self.rows[number, chosen] = self._after(core, row[chosen], count, state.any_escapes)
                self.counts[number, chosen] = not bool(wanted[0x80])
        self._stepwise(number, state, bytes([QUOTE, BACKSLASH]))

    def _after(self, core: MachineCore, targets: np.ndarray, count: int, any_escapes: bool) -> np.ndarray:
        """The numbers of the states in which the machine has come to its states `targets`."""
        machine = core.frame.machines[0]
        distinct, where = np.unique(targets, return_inverse=True)
        found = []
        for target in distinct.tolist():
            after = core.frame.core(((target, count),)) if machine.lives(target, count) else None
            found.append(DEAD if after is None else self.number(after.shell(any_escapes)))
        return np.array(found, dtype=np.int32)[where]

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


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """What lies below a node of a trie for a state, the node itself left out.

    inside, inside_counts    int32, int16          nodes where the frame is still open, and the code points to there
    exits, outcomes, counts  int32, int32, int16   nodes whose byte ended the frame, and with which outcome
    endings, end_outcomes    int32, int32          nodes where the frame may end before the next byte; the start too
    """

    inside: np.ndarray
    inside_counts: np.ndarray
    exits: np.ndarray
    outcomes: np.ndarray
    counts: np.ndarray
    endings: np.ndarray
    end_outcomes: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Roughly what it takes."""
        return 800 + 6 * self.inside.size + 10 * self.exits.size + 8 * self.endings.size


Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # nodes, states or outcomes, counts
Row = tuple[int, int, int]


class Walk:
    """One walk: what is alive goes level by level where that is wide, node by node where it is narrow."""

    def __init__(self, table: LeafTable, trie: TokenTrie) -> None:
        self._table, self._trie = table, trie
        self._inside: list[Columns] = []
        self._exits: list[Columns] = []

    def slice(self, node: int, state: State) -> Slice:
        """The slice of a state below a node."""
        start = self._table.number(state)
        alive: Columns | None = _columns([(node, start, 0)])
        while alive is not None:
            alive = self._level(*alive) if alive[0].size > _NARROW else self._singly(_rows(alive))
        inside, exits = _joined(self._inside), _joined(self._exits)
        endings = self._table.endings[np.concatenate([[start], inside[1]])]
        here = np.flatnonzero(endings >= 0)
        places = np.concatenate([[node], inside[0]])[here].astype(np.int32)
        counts = inside[2].astype(np.int16), exits[2].astype(np.int16)
        return Slice(inside[0], counts[0], exits[0], exits[1], counts[1], places, endings[here])

    def _level(self, nodes: np.ndarray, states: np.ndarray, counts: np.ndarray) -> Columns | None:
        table, trie = self._table, self._trie
        table.make(np.unique(states).tolist())
        num_kids = trie.kid_first[nodes + 1] - trie.kid_first[nodes]
        parents = np.repeat(np.arange(nodes.size), num_kids)
        before = np.cumsum(num_kids) - num_kids
        kids = trie.kids[np.arange(parents.size) + (trie.kid_first[nodes] - before)[parents]]
        byte, above = trie.byte[kids], states[parents]
        after, far = table.rows[above, byte], counts[parents] + table.counts[above, byte]
        gone = np.flatnonzero(after < DEAD)
        if gone.size:
            self._exits.append((kids[gone], -2 - after[gone], far[gone]))
        live = np.flatnonzero(after >= 0)
        if not live.size:
            return None
        alive = kids[live], after[live], far[live]
        self._inside.append(alive)
        return alive

    def _singly(self, pending: list[Row]) -> Columns | None:
        """What is alive where it has become wide; None if it has come to an end. Level by level, too: one branch of a
        narrow trie can hold thousands of nodes.
        """
        table, trie = self._table, self._trie
        alive: list[Row] = []
        gone: list[Row] = []
        while pending and len(pending) <= _NARROW:
            following: list[Row] = []
            for node, state, count in pending:
                kids = trie.children(node)
                if not kids:
                    continue
                table.make([state])
                row, row_counts = table.rows[state], table.counts[state]
                for byte in _some(kids, row):
                    after, kid = int(row[byte]), kids[byte]
                    if after >= 0:
                        following.append((kid, after, count + int(row_counts[byte])))
                    elif after < DEAD:
                        gone.append((kid, -2 - after, count))
            alive += following
            pending = following
        if alive:
            self._inside.append(_columns(alive))
        if gone:
            self._exits.append(_columns(gone))
        return _columns(pending) if pending else None


def _some(kids: dict[int, int], row: np.ndarray) -> list[int]:
    """The children that a row may allow: looked up one by one only where they are few."""
    if len(kids) <= _NARROW:
        return list(kids)
    byte = np.fromiter(kids, dtype=np.uint8, count=len(kids))
    found: list[int] = byte[row[byte] != DEAD].tolist()
    return found


def _columns(rows: list[Row]) -> Columns:
    table = np.array(rows, dtype=np.int32).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _rows(columns: Columns) -> list[Row]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _joined(parts: list[Columns]) -> Columns:
    if not parts:
        return _columns([])
    nodes, values, counts = (np.concatenate([part[index] for part in parts]) for index in range(3))
    return nodes, values, counts
