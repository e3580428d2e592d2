"""What one step computed of the tokens that may come next, and the tokens that are chosen by it.

Rows are those of `work.logit_rows`: of each work that wants logits one, and one behind each of its drafts.
"""

from __future__ import annotations

from collections.abc import Sequence as Row
from dataclasses import dataclass
from itertools import accumulate

from espalier.engine.chooser import Chooser
from espalier.engine.output_head import Group
from espalier.engine.sampler import Drawn
from espalier.engine.sequence import Sequence
from espalier.engine.work import Work


@dataclass(frozen=True, slots=True)
class Lead:
    """A work with drafts, its first row, and how many of its drafts came so far."""

    work: Work
    row: int
    num_came: int = 0

    def followed(self, num_came: int) -> Lead | None:
        """The same when so many have come; None if its request got none of them, or other tokens as well: then the row
        behind them is not its next.
        """
        is_next = num_came > self.num_came and self.work.certain_end + num_came == self.work.sequence.length
        return Lead(self.work, self.row, num_came) if is_next else None


class Scores:
    """The logits of all rows of `wanting`, the works that want them, in groups; valid until the next step."""

    __slots__ = ("_chooser", "_groups", "_rows", "_wanting")

    def __init__(self, chooser: Chooser, groups: list[Group], wanting: list[Work]) -> None:
        self._chooser, self._groups, self._wanting = chooser, groups, wanting
        self._rows = [0, *accumulate(1 + len(work.drafts) for work in wanting)][:-1]

    def first(self) -> list[Drawn]:
        """The next token of each work. The guides know it as proposed."""
        return self._choose(self._rows, [work.sequence for work in self._wanting])

    def leads(self) -> list[Lead]:
        """The works with drafts."""
        return [Lead(work, row) for work, row in zip(self._wanting, self._rows, strict=True) if work.drafts]

    def behind(self, leads: list[Lead]) -> list[Drawn]:
        """The next token of each behind those of its drafts that came."""
        return self._choose([lead.row + lead.num_came for lead in leads], [lead.work.sequence for lead in leads])

    def _choose(self, rows: list[int], sequences: list[Sequence]) -> list[Drawn]:
        drawn: dict[int, Drawn] = {}
        for group in self._groups:
            if rows == group.rows:
                return self._chooser.choose(group.logits, sequences)
            index = {row: at for at, row in enumerate(group.rows)}
            mine = [at for at, row in enumerate(rows) if row in index]
            if mine:
                logits = group.logits[_span([index[rows[at]] for at in mine])]
                drawn |= zip(mine, self._chooser.choose(logits, [sequences[at] for at in mine]), strict=True)
        return [drawn[at] for at in range(len(rows))]


def _span(rows: list[int]) -> Row[int] | slice:
    """Rising rows as a slice where they are neighbours: nothing is copied then."""
    return slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows
