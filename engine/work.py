"""What the scheduler is given and what it gives: limits, the work of a step, running totals. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens [begin, end) of a sequence, to be computed in this step."""

    sequence: Sequence
    begin: int
    end: int

    @property
    def wants_logits(self) -> bool:
        """Whether a token is drawn after it."""
        return self.end == self.sequence.length


@dataclass(slots=True)
class Totals:
    """Running totals since the start."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    loaded_tokens: int = 0
    evicted_tokens: int = 0
    computed_tokens: int = 0
    preemptions: int = 0
