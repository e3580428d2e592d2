"""From a request's fields, the model's own defaults and the server's limits to the engine's sampling parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.engine.checkpoint import read_json
from espalier.engine.messages import SamplingParams
from espalier.gateway.errors import invalid
from espalier.gateway.options import GatewayOptions
from espalier.gateway.wire.requests import ChatRequest, Common, CompletionRequest


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the checkpoint's generation_config.json says where a request is silent."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def load(cls, folder: Path) -> Defaults:
        """Read the file, if there is one."""
        path = folder / "generation_config.json"
        given: dict[str, Any] = read_json(path) if path.exists() else {}
        known = {name: given[name] for name in cls.__slots__ if given.get(name) is not None}
        if given.get("do_sample") is False:
            known = {"temperature": 0.0, "repetition_penalty": known.get("repetition_penalty", 1.0)}
        return cls(**known)


def _stops(request: Common, options: GatewayOptions) -> tuple[str, ...]:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(stops) > options.max_stop:
        raise invalid(f"stop has {len(stops)} strings; max_stop is {options.max_stop}", "stop")
    if any(not stop for stop in stops):
        raise invalid("stop holds an empty string", "stop")
    return tuple(stops)


def _bias(request: Common) -> tuple[tuple[int, float], ...]:
    pairs: list[tuple[int, float]] = []
    for key, value in (request.logit_bias or {}).items():
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise invalid(f"logit_bias: {key[:64]!r} is no token id", "logit_bias")
        if not -100 <= value <= 100:
            raise invalid(f"logit_bias: {value!r} is not between -100 and 100", "logit_bias")
        pairs.append((int(key), value))
    return tuple(pairs)


def _logprobs(request: ChatRequest | CompletionRequest, options: GatewayOptions) -> int | None:
    if isinstance(request, CompletionRequest):
        field, count = "logprobs", request.logprobs
    else:
        field, count = "top_logprobs", request.top_logprobs
        if count and not request.logprobs:
            raise invalid("top_logprobs needs logprobs: true", "top_logprobs")
        count = (count or 0) if request.logprobs else None
    if count is not None and count > options.max_logprobs:
        raise invalid(f"{field} is {count}; max_logprobs is {options.max_logprobs}", field)
    return count


def sampling_params(
    request: ChatRequest | CompletionRequest, defaults: Defaults, options: GatewayOptions
) -> SamplingParams:
    """Parameters of the request's first answer. Raises ApiError with the field at fault."""
    if request.n > options.max_n:
        raise invalid(f"n is {request.n}; max_n is {options.max_n}", "n")
    max_tokens = request.max_tokens
    if isinstance(request, ChatRequest):
        max_tokens = request.max_completion_tokens or max_tokens
    elif max_tokens is None:
        max_tokens = 16  # the default of OpenAI's completions

    def chosen(name: str) -> Any:
        value = getattr(request, name)
        return getattr(defaults, name) if value is None else value

    return SamplingParams(
        temperature=chosen("temperature"),
        top_k=max(0, chosen("top_k")),
        top_p=chosen("top_p"),
        min_p=chosen("min_p"),
        repetition_penalty=chosen("repetition_penalty"),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=request.seed,
        max_tokens=max_tokens,
        min_tokens=request.min_tokens,
        stop=_stops(request, options),
        include_stop_text=request.include_stop_str_in_output,
        stop_token_ids=tuple(request.stop_token_ids),
        ignore_eos=request.ignore_eos,
        logprobs=_logprobs(request, options),
        logit_bias=_bias(request),
        skip_special_tokens=request.skip_special_tokens,
    )
