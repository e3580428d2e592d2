"""Checks a request's sampling parameters: every range in one table, every refusal names the field and the value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from espalier.engine.errors import RequestError
from espalier.engine.messages import SamplingParams

INFINITY = math.inf
MAX_SEED = 2**63


@dataclass(frozen=True, slots=True)
class Range:
    """Closed interval of finite numbers; `above` excludes the lower end."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value lies in it; NaN and infinities never do."""
        return math.isfinite(value) and (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        return f"{'more than' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"


RANGES: dict[str, Range] = {
    "temperature": Range(0, 100),
    "top_k": Range(0, 2**31),
    "top_p": Range(0, 1, above=True),
    "min_p": Range(0, 1),
    "repetition_penalty": Range(0, 100, above=True),
    "presence_penalty": Range(-100, 100),
    "frequency_penalty": Range(-100, 100),
    "seed": Range(-MAX_SEED, 2 * MAX_SEED),
    "max_tokens": Range(1, 2**31),
    "min_tokens": Range(0, 2**31),
    "logprobs": Range(0, 1000),
}
MAX_STOPS = 64
MAX_STOP_LEN = 1024
MAX_BIAS = 2**17


def check(params: SamplingParams, vocab_size: int) -> None:
    """Raise RequestError with the field's name unless every parameter is in its range."""
    for field, allowed in RANGES.items():
        value = getattr(params, field)
        if value is not None and not allowed.holds(value):
            raise RequestError(f"{field} is {value!r}; it must be {allowed}", param=field)
    if len(params.stop) > MAX_STOPS:
        raise RequestError(f"stop has {len(params.stop)} strings; at most {MAX_STOPS} are allowed", param="stop")
    for stop in params.stop:
        if not 0 < len(stop) <= MAX_STOP_LEN:
            raise RequestError(
                f"a stop string has {len(stop)} characters; 1 to {MAX_STOP_LEN} are allowed", param="stop"
            )
    if params.max_tokens is not None and params.min_tokens > params.max_tokens:
        raise RequestError(f"min_tokens {params.min_tokens} exceeds max_tokens {params.max_tokens}", param="min_tokens")
    _check_ids("stop_token_ids", list(params.stop_token_ids), vocab_size)
    _check_ids("logit_bias", [token_id for token_id, _ in params.logit_bias], vocab_size)
    for token_id, bias in params.logit_bias:
        if not Range(-100, 100).holds(bias):
            raise RequestError(
                f"logit_bias of {token_id} is {bias!r}; it must be {Range(-100, 100)}", param="logit_bias"
            )


def _check_ids(field: str, token_ids: list[int], vocab_size: int) -> None:
    if len(token_ids) > MAX_BIAS:
        raise RequestError(f"{field} has {len(token_ids)} tokens; at most {MAX_BIAS} are allowed", param=field)
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            raise RequestError(f"{field} holds {token_id}; the vocabulary ends at {vocab_size - 1}", param=field)
