"""What the scheduler is given and what it gives: limits, the work of a step, running totals. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.engine.options import Admission, Batching, Eviction
from espalier.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step and the engine may hold; sizes in tokens."""

    num_slots: int
    max_context: int
    max_running: int
    step_tokens: int
    admission: Admission = "preempt"
    batching: Batching = "continuous"
    prefix_cache: bool = True
    eviction: Eviction = "value"
    lease_tokens: int = 0
    """Slots that sessions may hold in all while their tools run, and each tenant's: all of those where it is None."""
    tenant_lease_tokens: int | None = None
    patience_s: float = 90.0
    """A request waits so long for slots that sessions hold, and lets others pass; then it gets them."""


class Work(NamedTuple):
    """Tokens [begin, end) of a sequence, to be computed in this step; the last `drafts` of them are guesses."""

    sequence: Sequence
    begin: int
    end: int
    drafts: tuple[int, ...] = ()

    @property
    def certain_end(self) -> int:
        """Up to where the tokens are the sequence's own."""
        return self.end - len(self.drafts)

    @property
    def wants_logits(self) -> bool:
        """Whether a token is drawn after it."""
        return self.certain_end == self.sequence.length

    @property
    def is_wanted(self) -> bool:
        """Whether its request still has its row: it is not over, nor preempted."""
        return self.sequence.row >= 0

    def without_drafts(self) -> Work:
        """The same without guesses."""
        return Work(self.sequence, self.begin, self.certain_end)


def logit_rows(plan: list[Work]) -> NDArray[np.int64]:
    """Of a plan's tokens, end to end, those whose logits are wanted: the last own one of a work, and its drafts."""
    rows: list[int] = []
    total = 0
    for work in plan:
        total += work.end - work.begin
        if work.wants_logits:
            rows += range(total - 1 - len(work.drafts), total)
    return np.array(rows, dtype=np.int64)


@dataclass(slots=True)
class Totals:
    """Running totals since the start."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    loaded_tokens: int = 0
    evicted_tokens: int = 0
    computed_tokens: int = 0
    drafted_tokens: int = 0
    confirmed_tokens: int = 0
    preemptions: int = 0
