"""What it costs to compute attention state again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecomputeCost:
    """Seconds of a prefill: a fixed part, one for each token, and one for each token and each token before it.

    The engine measures them; the defaults only have the right shape.
    """

    fixed_s: float = 0.0
    per_token_s: float = 1e-4
    per_context_s: float = 1e-9

    def seconds(self, begin: int, end: int) -> float:
        """Computing the tokens [begin, end) of a path whose first `begin` are there."""
        if end <= begin:
            return 0.0
        seen = (end * end - begin * begin) / 2
        return self.fixed_s + self.per_token_s * (end - begin) + self.per_context_s * seen
