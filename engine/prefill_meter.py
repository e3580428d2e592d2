"""Measures what computing a prompt token takes, from steps that do little else."""

from __future__ import annotations

from espalier.radix import RecomputeCost

MIN_TOKENS = 32
_NEW = 0.2
"""Weight of the newest step."""


class PrefillMeter:
    """`cost` has what was measured so far; None before the first step that tells something."""

    def __init__(self) -> None:
        self.per_token_s: float | None = None

    def add(self, num_prompt: int, num_other: int, took_s: float) -> None:
        """A step computed so many prompt tokens and others; one that is not mostly prompts, or short, tells nothing."""
        if num_prompt < MIN_TOKENS or num_other > num_prompt // 4:
            return
        sample = took_s / (num_prompt + num_other)
        self.per_token_s = sample if self.per_token_s is None else self.per_token_s + _NEW * (sample - self.per_token_s)

    @property
    def cost(self) -> RecomputeCost | None:
        """The cost of computing again, in the shape that policies and decisions take."""
        return None if self.per_token_s is None else RecomputeCost(0.0, self.per_token_s, 0.0)

    @property
    def tokens_per_s(self) -> float:
        """Prompt tokens computed in a second; 0 as long as nothing was measured."""
        return 0.0 if not self.per_token_s else 1 / self.per_token_s
