"""Where sequences lie: the row of each that runs, the slots of its own, and its path in the prefix tree. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from espalier.engine.sequence import Sequence
from espalier.engine.slots import SlotAllocator
from espalier.engine.work import Limits
from espalier.radix import Node, PrefixTree


@dataclass(slots=True)
class Placement:
    """The slot table over the pool's slots and the tree.

    `table` int32 [max_running, max_context]: slot of each position of each running sequence. `moved_rows` are those in
    which more changed than slots for new tokens; who copies the table takes them out.
    """

    limits: Limits
    slots: SlotAllocator
    tree: PrefixTree
    table: NDArray[np.int32] = field(init=False)
    moved_rows: set[int] = field(default_factory=set)
    _rows: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.table = np.zeros((self.limits.max_running, self.limits.max_context), dtype=np.int32)
        self._rows = list(range(self.limits.max_running - 1, -1, -1))

    @property
    def num_rows(self) -> int:
        """Rows that are free."""
        return len(self._rows)

    def own(self, sequence: Sequence) -> NDArray[np.int32]:
        """The slots that are the sequence's alone; a view."""
        return self.table[sequence.row, sequence.shared_len : sequence.num_slots]

    def match(self, sequence: Sequence, now_s: float) -> NDArray[np.int32]:
        """Find and lock what the tree has of a waiting sequence; `start` or `let_go` follows. Returns the slots."""
        # The last token is always computed: its logits are wanted.
        end = sequence.length - 1 if self.limits.prefix_cache else 0
        match = self.tree.match(sequence.root, sequence.ids(0, end), now_s)
        sequence.node, sequence.evicted_tokens = match.node, match.num_evicted
        self.tree.lock(match.node)
        return match.slots

    def let_go(self, sequence: Sequence) -> None:
        """It goes on waiting after all."""
        assert sequence.node is not None
        self.tree.unlock(sequence.node)
        sequence.node = None

    def start(self, sequence: Sequence, slots: NDArray[np.int32]) -> None:
        """Give it a row that begins with the slots it matched."""
        matched = len(slots)
        sequence.row = self._rows.pop()
        self.table[sequence.row, :matched] = slots
        self.moved_rows.add(sequence.row)
        sequence.num_computed = sequence.num_slots = sequence.shared_len = matched

    def extend(self, sequence: Sequence, length: int) -> None:
        """Give it free slots up to `length`."""
        self.table[sequence.row, sequence.num_slots : length] = self.slots.take(length - sequence.num_slots)
        sequence.num_slots = length

    def extend_all(self, growing: list[tuple[Sequence, int]]) -> None:
        """Give each sequence free slots up to a length beyond those that it has."""
        rows: list[int] = []
        positions: list[int] = []
        for sequence, length in growing:
            if length - sequence.num_slots == 1:
                rows.append(sequence.row)
                positions.append(sequence.num_slots)
                sequence.num_slots = length
            else:
                self.extend(sequence, length)
        # Together those that need one: most of what a step of many decoding sequences needs.
        if rows:
            self.table[rows, positions] = self.slots.take(len(rows))

    def share(self, sequence: Sequence, now_s: float) -> None:
        """Hand what is computed to the tree; where it had the same tokens already, take its slots for ours."""
        begin, end = sequence.shared_len, sequence.num_computed
        if begin >= end or sequence.node is None:
            return
        ours = self.table[sequence.row, begin:end].copy()
        match = self.tree.insert(sequence.node, sequence.ids(begin, end), ours, now_s)
        is_new = ours == match.slots
        self.slots.give(ours[~is_new])
        sequence.inserted_len += int(is_new.sum())
        sequence.written_tokens += int(is_new[: max(0, sequence.prompt_len - begin)].sum())
        if not is_new.all():
            self.table[sequence.row, begin:end] = match.slots
            self.moved_rows.add(sequence.row)
        self.tree.lock(match.node)
        self.tree.unlock(sequence.node)
        sequence.node, sequence.shared_len = match.node, end

    def release(self, sequence: Sequence, now_s: float, *, keep: bool) -> Node | None:
        """Take its row and its slots; what it computed stays in the tree if `keep`. Returns where it ended there."""
        if keep and self.limits.prefix_cache:
            self.share(sequence, now_s)
        self.slots.give(self.own(sequence).copy())
        node = sequence.node
        if node is not None:
            self.tree.unlock(node)
            if not keep:
                self.slots.give(self.tree.discard(node, sequence.inserted_len))
        self._rows.append(sequence.row)
        sequence.row, sequence.node = -1, None
        sequence.num_computed = sequence.num_slots = sequence.shared_len = sequence.inserted_len = 0
        return node
