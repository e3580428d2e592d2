"""What was seen of one request, and what a level's requests come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from espalier.gateway.bench.prices import cost_per_million
from espalier.gateway.bench.quantile import Spread, spread


@dataclass(slots=True)
class Sample:
    """One request as its client saw it; seconds from its sending. `error` is the kind of failure."""

    turn: int = 0
    first_token_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    total_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    is_counted: bool = True
    text: str = ""
    error: str | None = None

    @property
    def token_s(self) -> float | None:
        """Mean time of a token after the first; None for fewer than two."""
        if self.first_token_s is None or self.completion_tokens < 2:
            return None
        return (self.total_s - self.first_token_s) / (self.completion_tokens - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a request must keep to count as good; None is no bound."""

    first_token_s: float | None = None
    token_s: float | None = None

    def met_by(self, sample: Sample) -> bool:
        """Whether a request without error kept them."""
        first, each = sample.first_token_s, sample.token_s
        return (self.first_token_s is None or (first is not None and first <= self.first_token_s)) and (
            self.token_s is None or each is None or each <= self.token_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One load and what came of it. `*_tokens_per_s` are of the whole level, `speed` is each request's own decode."""

    load: str
    users: int | None
    rate: float | None
    duration_s: float
    requests: int
    errors: dict[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    tokens_are_counted: bool
    tokens_per_s: float
    prompt_tokens_per_s: float
    requests_per_s: float
    first_token_s: Spread | None
    first_token_turn_1_s: Spread | None
    first_token_later_s: Spread | None
    gap_s: Spread | None
    token_s: Spread | None
    latency_s: Spread | None
    speed: Spread | None
    good_share: float
    goodput_per_s: float
    cost_per_million: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of users, or an open loop at a rate of conversations a second."""

    users: int | None = None
    rate: float | None = None

    @property
    def name(self) -> str:
        """As a row of the table begins."""
        return f"{self.users} users" if self.users is not None else f"{self.rate:g}/s"


def level_of(
    load: Load, samples: Sequence[Sample], duration_s: float, objectives: Objectives, price_per_hour: float | None
) -> Level:
    """Sum up the requests of a level that took `duration_s`, which is more than 0."""
    good = [sample for sample in samples if sample.error is None]
    first = [(sample.turn, sample.first_token_s) for sample in good if sample.first_token_s is not None]
    each = [token_s for sample in good if (token_s := sample.token_s) is not None]
    tokens_per_s = sum(sample.completion_tokens for sample in good) / duration_s
    num_met = sum(objectives.met_by(sample) for sample in good)
    return Level(
        load=load.name,
        users=load.users,
        rate=load.rate,
        duration_s=duration_s,
        requests=len(samples),
        errors=dict(Counter(sample.error for sample in samples if sample.error is not None)),
        prompt_tokens=sum(sample.prompt_tokens for sample in good),
        cached_tokens=sum(sample.cached_tokens for sample in good),
        completion_tokens=sum(sample.completion_tokens for sample in good),
        tokens_are_counted=all(sample.is_counted for sample in good),
        tokens_per_s=tokens_per_s,
        prompt_tokens_per_s=sum(sample.prompt_tokens for sample in good) / duration_s,
        requests_per_s=len(good) / duration_s,
        first_token_s=spread([seconds for _, seconds in first]),
        first_token_turn_1_s=spread([seconds for turn, seconds in first if turn == 0]),
        first_token_later_s=spread([seconds for turn, seconds in first if turn > 0]),
        gap_s=spread([gap for sample in good for gap in sample.gaps_s]),
        token_s=spread(each),
        latency_s=spread([sample.total_s for sample in good]),
        speed=spread([1 / seconds for seconds in each if seconds > 0]),
        good_share=num_met / len(samples) if samples else 0.0,
        goodput_per_s=num_met / duration_s,
        cost_per_million=None if price_per_hour is None else cost_per_million(price_per_hour, tokens_per_s),
    )
