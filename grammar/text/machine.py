"""Machines that read languages as UTF-8, byte by byte, and know at each byte whether something can still be
accepted.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from espalier.grammar.limits import Limits
from espalier.grammar.text.byte_rows import ByteRows
from espalier.grammar.text.cell import cells
from espalier.grammar.text.language import Language
from espalier.grammar.text.leaf import Row
from espalier.grammar.text.nfa import FAR
from espalier.grammar.text.product import NOWHERE, Product
from espalier.grammar.text.reach import Reach
from espalier.grammar.text.witness import cardinality, shortest

__all__ = ["FAR", "TextMachine", "text_machine"]


MOST_IMMORTAL = 1_000  # states that are looked at to find out whether all live


class TextMachine:
    """Reads UTF-8 byte by byte; states are ints from 0 on, made on demand, and all of them live for some number of
    code points.

    Lengths are not in the states: whoever reads counts code points (a code point counts at its first byte: `byte &
    0xC0 != 0x80`) and asks `lives(state, count)` behind each byte, `accepts(state, count)` at the end. Where `counts`
    is false the number does not matter. All answers are exact. A language that needs more than
    `limits.pattern_states` raises GrammarTooLargeError when they are made.
    """

    def __init__(self, language: Language, limits: Limits) -> None:
        self._cells = cells(language)
        self.counts = len(self._cells) > 1
        self._product = Product(language, self._cells, limits)
        self._reaches = [Reach(self._product, cell) for cell in self._cells]
        self._live: dict[int, bool] = {}
        self._rows = ByteRows(self._product, self._pruned)
        self._window: dict[tuple[int, int], bool] = {}
        self._immortal: dict[int, bool] = {}
        self.start = self._rows.between(max(self._product.start, 0))

    def _is_live(self, target: int) -> bool:
        """Whether a state of the product has a completion of any length."""
        found = self._live.get(target)
        if found is None:
            found = self._live[target] = any(reach.nearest(target) < FAR for reach in self._reaches)
        return found

    def _pruned(self, target: int) -> Row:
        rest, others = self._product.row(target)
        return self._kept(rest), {kind: self._kept(after) for kind, after in others.items()}

    def _kept(self, target: int) -> int:
        return target if target != NOWHERE and self._is_live(target) else NOWHERE

    def row(self, state: int) -> np.ndarray:
        """int32[256], not to be written to: the next state, -1 where no completion of any length is accepted or
        the bytes are no UTF-8.
        """
        return self._rows.row(state)

    def step(self, state: int, byte: int) -> int:
        """One entry of the row."""
        return int(self._rows.row(state)[byte])

    def accepts(self, state: int, count: int) -> bool:
        """Whether the text may end here, after so many code points."""
        if not self._rows.is_between(state) or self._product.start == NOWHERE:
            return False
        target = self._rows.targets(state)[0]
        return self._product.holds(target, self._cells[self._cell_of(count)].formula)

    def _cell_of(self, count: int) -> int:
        if not self.counts:
            return 0
        return next(
            i for i, cell in enumerate(self._cells) if cell.low <= count and (cell.high is None or count <= cell.high)
        )

    def lives(self, state: int, count: int) -> bool:
        """Whether some completion is accepted after so many code points, that of `state` included."""
        if self._product.start == NOWHERE:
            return False
        key = (state, count if self.counts else 0)
        found = self._window.get(key)
        if found is None:
            found = any(
                self._ends_in(target, cell, count)
                for target in self._rows.targets(state)
                for cell in range(len(self._cells))
            )
            if len(self._window) >= 50_000:
                self._window.clear()
            self._window[key] = found
        return found

    def _ends_in(self, target: int, cell: int, count: int) -> bool:
        least, most = self._range(cell, count)
        return most >= least and self._reaches[cell].lives(target, least, most)

    def _range(self, cell: int, count: int) -> tuple[int, int]:
        """How many code points more lead to a cell; the second less than the first if none do."""
        low, high, _ = self._cells[cell]
        if not self.counts:
            return 0, FAR
        return max(low - count, 0), FAR if high is None else high - count

    def horizon(self, state: int, count: int, far: int) -> tuple[int, ...]:
        """Equal keys: the same continuations of at most `far` code points live, and the same are accepted.

        Behind the state, what is not negative is a number of code points after which something changes.
        """
        if not self.counts:
            return (state,)
        places = (self._boundary(cell, count, far) for cell in range(len(self._cells) - 1))
        return (state, *places)

    def _boundary(self, cell: int, count: int, far: int) -> int:
        """What matters of the distance to the end of a cell: -1 if it lies behind, less if it is beyond the horizon."""
        low, high, _ = self._cells[cell]
        assert high is not None
        left = high - count
        if left <= far:
            return max(left, -1)
        here, after = self._reaches[cell], self._reaches[cell + 1]
        beyond, period = far, 1
        for reach, is_open in ((here, low <= count), (after, self._cells[cell + 1].high is None)):
            if not reach.is_decided:
                if reach is here and is_open:
                    beyond = max(beyond, far + reach.spread())
                else:
                    start, own = reach.tail()
                    beyond, period = max(beyond, far + start), period if is_open else period * own
        return left if left <= beyond else -2 - left % period

    def free(self, state: int) -> bool:
        """Whether every continuation is accepted as far as patterns go: lengths aside."""
        return self._rows.is_between(state) and all(
            reach.is_decided or self._product.residual(self._rows.targets(state)[0], cell.formula) is True
            for reach, cell in zip(self._reaches, self._cells, strict=True)
        )

    def lengths(self, state: int, count: int, num: int) -> tuple[np.ndarray, np.ndarray]:
        """For a `free` state and the `num` numbers of code points from `count` on, whether the text then lives, and
        whether it may end: bool[num] each.
        """
        counts, target = np.arange(count, count + num), self._rows.targets(state)[0]
        lives, ends = np.zeros(num, dtype=np.bool_), np.zeros(num, dtype=np.bool_)
        for low, high, formula in self._cells:
            if self._product.holds(target, formula):
                is_before_end = counts <= (FAR if high is None else high)
                lives |= is_before_end
                ends |= is_before_end & (counts >= low)
        return lives, ends

    @cached_property
    def is_endless(self) -> bool:
        """Whether whatever was read has endlessly many completions; no where that takes long to say."""
        if self.counts or self._product.start == NOWHERE:
            return False
        met, pending = {self._product.start}, [self._product.start]
        while pending and len(met) <= MOST_IMMORTAL:
            rest, others = self._pruned(pending.pop())
            behind = {rest, *others.values()} - {NOWHERE}
            if not behind:
                return False
            # All states are finitely many and each has another behind it: each comes to a circle.
            pending.extend(behind - met)
            met |= behind
        return not pending

    def is_immortal(self, state: int) -> bool:
        """Whether all that follows can be completed, as in a search for a pattern; no where that takes long to say."""
        if self.counts or not self._rows.is_between(state):
            return False
        target = self._rows.targets(state)[0]
        found = self._immortal.get(target)
        if found is None:
            met, pending, found = {target}, [target], True
            while pending and found:
                rest, others = self._pruned(pending.pop())
                behind = {rest, *others.values()}
                pending.extend(behind - met)
                met |= behind
                found = NOWHERE not in behind and len(met) <= MOST_IMMORTAL
            self._immortal.update(dict.fromkeys(met if found else (target,), found))
        return found

    def witness(self, state: int, count: int) -> bytes | None:
        """A completion with the fewest code points; letters and digits where there is a choice. None if there is
        none.
        """
        if self._product.start == NOWHERE:
            return None
        found = [
            (num, target, cell)
            for target in self._rows.targets(state)
            for cell in range(len(self._cells))
            if (num := self._fewest(target, cell, count)) >= 0
        ]
        if not found:
            return None
        num, target, cell = min(found)
        return self._bytes_to(state, target) + shortest(self._product, self._reaches[cell], target, num).encode()

    def _fewest(self, target: int, cell: int, count: int) -> int:
        least, most = self._range(cell, count)
        return self._reaches[cell].fewest(target, least, most) if most >= least else -1

    def _bytes_to(self, state: int, target: int) -> bytes:
        """The rest of a code point that leads to a state of the product."""
        found = bytearray()
        while not self._rows.is_between(state):
            row = self._rows.row(state).tolist()
            byte = next(byte for byte, after in enumerate(row) if after >= 0 and target in self._rows.targets(after))
            found.append(byte)
            state = row[byte]
        return bytes(found)

    @property
    def is_empty(self) -> bool:
        """Whether it accepts nothing."""
        return not self.lives(self.start, 0)

    def cardinality(self, most: int) -> int:
        """The number of texts accepted, at most `most`."""
        return 0 if self.is_empty else cardinality(self._product, self._reaches, self._cells, most)

    def contains(self, text: str) -> bool:
        """Whether it accepts a text."""
        target = self._product.start
        for char in text:
            if target == NOWHERE or "\ud800" <= char <= "\udfff":
                return False
            rest, others = self._product.row(target)
            target = others.get(self._product.alphabet.class_of(ord(char)), rest)
        return target != NOWHERE and self._product.holds(target, self._cells[self._cell_of(len(text))].formula)


@lru_cache(maxsize=4096)
def text_machine(language: Language, limits: Limits) -> TextMachine:
    """The machine of a language: one in the process, as long as it is in use."""
    return TextMachine(language, limits)
