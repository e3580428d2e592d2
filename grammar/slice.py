"""Walks of a trie through the rows of a leaf frame, level by level.

What a walk finds depends on nothing but the trie, the node where it begins and the state, so slices are kept with the
vocabulary and shared by every grammar of the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from espalier.grammar.leaf import DEAD
from espalier.grammar.text_frame import QUOTE
from espalier.grammar.trie import TokenTrie

_NARROW = 24  # nodes: fewer are followed one by one, since one level costs as much as some dozens of them
_LONGEST = 160  # states of a run that are looked at
_WIDE = 16  # a level of which a larger part is alive is taken whole: looking up its nodes costs more than all of them


class Table(Protocol):
    """Rows of states; see `LeafTable`."""

    rows: np.ndarray
    counts: np.ndarray
    endings: np.ndarray

    def make(self, numbers: np.ndarray) -> None:
        """Fill the rows of states."""

    def make_one(self, number: int) -> None:
        """Fill the row of a state."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """What lies below a node of a trie for a state, the node itself left out.

    inside, inside_counts    int32, int16          nodes where the frame is still open, and the code points to there
    exits, outcomes, counts  int32, int32, int16   nodes whose byte ended the frame, and with which outcome
    endings, end_outcomes    int32, int32          nodes where the frame may end before the next byte; the start too

    Code points are counted only where that was asked for.
    """

    inside: np.ndarray
    inside_counts: np.ndarray | None
    exits: np.ndarray
    outcomes: np.ndarray
    counts: np.ndarray | None
    endings: np.ndarray
    end_outcomes: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Roughly what it takes."""
        return 800 + 6 * self.inside.size + 10 * self.exits.size + 8 * self.endings.size

    def without(self, trie: TokenTrie, nodes: list[int]) -> Slice:
        """What does not lie at and below some nodes."""
        inside, exits = (_outside(places, trie, nodes) for places in (self.inside, self.exits))
        return Slice(
            self.inside[inside], None, self.exits[exits], self.outcomes[exits], None, self.endings, self.end_outcomes
        )


def _outside(places: np.ndarray, trie: TokenTrie, nodes: list[int]) -> np.ndarray:
    keep = np.ones(places.size, dtype=np.bool_)
    for node in nodes:
        keep &= (places < node) | (places >= trie.end[node])
    return keep


Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # nodes, states or outcomes, counts
Row = tuple[int, int, int]


class Runs:
    """For each set of bytes, the nodes of a trie that consist of them: most patterns read runs of one class."""

    def __init__(self, trie: TokenTrie) -> None:
        self._trie = trie
        self._known: dict[bytes, Slice] = {}

    def get(self, live: np.ndarray) -> Slice:
        """`inside_counts` and `counts` are numbers of bytes; the exits are the quotes behind such runs."""
        key = np.packbits(live).tobytes()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= 64:
                self._known.pop(next(iter(self._known)))
            found = self._known[key] = Walk(_OneState(live), self._trie, counts=True).slice(0)
        return found


class _OneState:
    """The table of a state that some bytes lead back to and a quote ends."""

    def __init__(self, live: np.ndarray) -> None:
        self.rows = np.where(live, 0, DEAD).astype(np.int32).reshape(1, 256)
        self.rows[0, QUOTE] = -2
        self.counts = live.astype(np.int8).reshape(1, 256)
        self.endings = np.full(1, -1, dtype=np.int32)

    def make(self, numbers: np.ndarray) -> None:
        """They are there."""

    def make_one(self, number: int) -> None:
        """It is there."""


class Walk:
    """One walk: what is alive goes level by level where that is wide, node by node where it is narrow."""

    def __init__(self, table: Table, trie: TokenTrie, runs: Runs | None = None, counts: bool = False) -> None:
        self._table, self._trie, self._runs, self._counts = table, trie, runs, counts
        self._inside: list[Columns] = []
        self._exits: list[Columns] = []

    def slice(self, start: int, node: int = 0) -> Slice:
        """The slice of a state, given by its number, below a node."""
        self._table.make_one(start)
        alive: Columns | None = _columns([(node, start, 0)])
        if self._runs is not None and node == 0:
            alive = self._run(start, self._runs)
        while alive is not None:
            if alive[0].size <= _NARROW:
                alive = self._singly(_rows(alive))
            elif alive[0].size * _WIDE > self._trie.level_below(alive[0]).kids.size:
                alive = self._whole_level(*alive)
            else:
                alive = self._level(*alive)
        inside, exits = _joined(self._inside), _joined(self._exits)
        endings = self._table.endings[np.concatenate([[start], inside[1]])]
        here = np.flatnonzero(endings >= 0)
        places = np.concatenate([[node], inside[0]])[here].astype(np.int32)
        counts = (inside[2].astype(np.int16), exits[2].astype(np.int16)) if self._counts else (None, None)
        return Slice(inside[0], counts[0], exits[0], exits[1], counts[1], places, endings[here])

    def _level(self, nodes: np.ndarray, states: np.ndarray, counts: np.ndarray) -> Columns | None:
        trie = self._trie
        num_kids = trie.kid_first[nodes + 1] - trie.kid_first[nodes]
        parents = np.repeat(np.arange(nodes.size), num_kids)
        before = np.cumsum(num_kids) - num_kids
        kids = trie.kids[np.arange(parents.size) + (trie.kid_first[nodes] - before)[parents]]
        return self._arrive(kids, states[parents], counts[parents] if self._counts else counts)

    def _whole_level(self, nodes: np.ndarray, states: np.ndarray, counts: np.ndarray) -> Columns | None:
        """By the parents of the next level's nodes, most of which are alive."""
        trie = self._trie
        level = trie.level_below(nodes)
        above, where = np.full(level.num_above, DEAD, dtype=np.int32), trie.place[nodes]
        above[where] = states
        reached = above[level.parents]
        here = np.flatnonzero(reached >= 0)
        if self._counts:
            above[where] = counts
            counts = above[level.parents[here]]
        return self._arrive(level.kids[here], reached[here], counts)

    def _arrive(self, kids: np.ndarray, above: np.ndarray, counts: np.ndarray) -> Columns | None:
        """From the states above nodes to theirs."""
        table = self._table
        table.make(above)
        byte = self._trie.byte[kids]
        after = table.rows[above, byte]
        far = counts + table.counts[above, byte] if self._counts else after
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
        """What is alive where it has become wide; None if it has come to an end.

        Level by level, too: one branch of a narrow trie can hold thousands of nodes.
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
                table.make_one(state)
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

    def _run(self, start: int, runs: Runs) -> Columns | None:
        """What lies behind a run of one class of bytes, which is taken whole: the states of its places follow one
        another, as those of `[a-z]{1,64}` do, or are one, as that of `[a-z]*` is.
        """
        rows, live = self._table.rows, self._live(start)
        chain = [start]
        while live is not None and len(chain) <= _LONGEST:
            after = int(rows[chain[-1]][live][0])
            self._table.make_one(after)
            rows = self._table.rows
            chain.append(after)
            following = self._live(after)
            if after == chain[-2] or following is None or not np.array_equal(following, live):
                break
        if live is None or len(chain) < 3:
            return _columns([(0, start, 0)])
        run, last = runs.get(live), len(chain) - 1
        assert run.inside_counts is not None and run.counts is not None
        nodes, depths, quotes, widths = run.inside, run.inside_counts, run.exits, run.counts
        is_loop = chain[-1] == chain[-2]
        if not is_loop:
            near, before = depths <= last, widths < last
            nodes, depths, quotes, widths = nodes[near], depths[near], quotes[before], widths[before]
        states = np.array(chain, dtype=np.int32)
        reached = states[np.minimum(depths, last)]
        self._inside.append((nodes, reached, np.zeros_like(reached)))
        ends = self._table.rows[states, QUOTE][np.minimum(widths, last)]
        closed = np.flatnonzero(ends < DEAD)
        self._exits.append((quotes[closed], -2 - ends[closed], np.zeros_like(quotes[closed])))
        at_last = depths == last
        if is_loop or not at_last.any():
            return None
        return nodes[at_last], reached[at_last], np.zeros_like(reached[at_last])

    def _live(self, state: int) -> np.ndarray | None:
        """The bytes that lead on, if they all lead to one state, and nothing but a quote leads out."""
        row = self._table.rows[state]
        live: np.ndarray = row >= 0
        targets, ends = row[live], np.flatnonzero(row < DEAD).tolist()
        return live if targets.size and (targets == targets[0]).all() and ends in ([], [QUOTE]) else None


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
