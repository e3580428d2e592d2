"""What a run used, and what that costs."""

from __future__ import annotations

from msgspec import Struct


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens: of the prompts, of those found in the server's cache, of the answers, of those spent on reasoning.

    `cost` is in the currency of whoever set the price, None where nobody did.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None

    @property
    def total_tokens(self) -> int:
        """Prompts and answers."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        known = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            sum(known) if known else None,
        )


class Price(Struct, frozen=True, kw_only=True):
    """What a million tokens cost: prompt tokens, those of them that were cached, generated tokens."""

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """The cost of `usage`; cached tokens cost as others do where no price was set for them."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        parts = fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion
        return parts / 1_000_000
