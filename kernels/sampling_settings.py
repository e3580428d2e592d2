"""What a draw takes and what it gives, with their shapes and types checked; the uniform numbers behind draws.

Legend: R rows, V vocabulary, W words of 32 tokens, E entries of all rows together, N best tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.kernels.errors import KernelError

MAX_TOP = 1024
"""Most best tokens that can be asked for."""
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Values at some tokens of each row: row r has the entries [start[r], start[r + 1]).

    `start` int32 [R + 1]; `token` int32 [E], strictly rising within a row; `value` float32 [E].
    """

    start: Tensor
    token: Tensor
    value: Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """How each row draws; all on the logits' device, contiguous except `mask`.

    `temperature` float32 [R] >= 0, 0 is greedy; `top_k` int32 [R], 0 is off; `top_p` float32 [R] in (0, 1], 1 is off;
    `min_p` float32 [R] in [0, 1], 0 is off; `uniform` float64 [R] in [0, 1) decides the draw.

    `mask` int32 [R, W], rows any stride apart: bit j of word i allows token 32 i + j, tokens beyond the words are
    forbidden. `is_masked` bool [R] names the rows that have one; None: all have.

    `seen` are tokens of the prompt and the answer, its values how often each is in the answer; `repetition`, `presence`
    and `frequency` float32 [R] are penalties on them and come with it. `bias` is added after those; less infinity bans.

    `wants_logprob` bool [R] asks for log-probabilities, of the drawn token and of the `num_top` best.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    uniform: Tensor
    mask: Tensor | None = None
    is_masked: Tensor | None = None
    seen: Ragged | None = None
    repetition: Tensor | None = None
    presence: Tensor | None = None
    frequency: Tensor | None = None
    bias: Ragged | None = None
    wants_logprob: Tensor | None = None
    num_top: int = 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """`token` int64 [R], 0 where `is_valid` bool [R] is false.

    Invalid is a row whose allowed logits hold a NaN, plus infinity or nothing but minus infinity, a row that has
    nothing left to choose (`is_blocked` bool [R]: no token is allowed, or bias bans all that are), and a row that wants
    log-probabilities and has logits, allowed or not, that give none.

    `logprob` float32 [R], `top_token` int64 [R, N] and `top_logprob` float32 [R, N], best first, equals by rising
    token, are None if `wants_logprob` is. Rows that did not want them, and invalid ones, have NaN and -1 there, as have
    places for which no token's logit is more than minus infinity. N is at most the vocabulary's size.
    """

    token: Tensor
    is_valid: Tensor
    is_blocked: Tensor
    logprob: Tensor | None = None
    top_token: Tensor | None = None
    top_logprob: Tensor | None = None


def uniform(seeds: NDArray[np.uint64], positions: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each (seed, position): splitmix64 (Steele, Lea and Flood, 2014), the same everywhere."""
    with np.errstate(over="ignore"):
        z = _mix(seeds) + (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def check(logits_rv: Tensor, settings: Settings) -> None:
    """Raise KernelError unless shapes, types, strides and devices are what `Settings` says."""
    if logits_rv.ndim != 2 or logits_rv.dtype not in FLOATS or (logits_rv.shape[1] > 1 and logits_rv.stride(1) != 1):
        raise KernelError(
            f"logits are {_say(logits_rv)}: floats [rows, vocabulary] whose last axis is contiguous are needed"
        )
    if not logits_rv.shape[1]:
        raise KernelError("logits have an empty vocabulary")
    device, rows = logits_rv.device, len(logits_rv)
    for name, dtype in {"temperature": torch.float32, "top_k": torch.int32, "top_p": torch.float32,
                        "min_p": torch.float32, "uniform": torch.float64}.items():  # fmt: skip
        _check_vector(name, getattr(settings, name), dtype, rows, device)
    if not 0 <= settings.num_top <= MAX_TOP:
        raise KernelError(f"num_top is {settings.num_top}, 0 to {MAX_TOP} is needed")
    if settings.wants_logprob is not None:
        _check_vector("wants_logprob", settings.wants_logprob, torch.bool, rows, device)
    elif settings.num_top:
        raise KernelError("num_top needs wants_logprob")
    _check_mask(settings, rows, device)
    _check_penalties(settings, rows, device)


def _check_mask(settings: Settings, rows: int, device: torch.device) -> None:
    mask, is_masked = settings.mask, settings.is_masked
    if is_masked is not None:
        if mask is None:
            raise KernelError("is_masked needs a mask")
        _check_vector("is_masked", is_masked, torch.bool, rows, device)
    if mask is not None and (
        mask.ndim != 2
        or mask.dtype != torch.int32
        or len(mask) != rows
        or (mask.shape[1] > 1 and mask.stride(1) != 1)
        or mask.device != device
    ):
        raise KernelError(
            f"mask is {_say(mask)}: int32 [{rows}, words] on {device} is needed, its last axis contiguous"
        )


def _check_penalties(settings: Settings, rows: int, device: torch.device) -> None:
    penalties = ("repetition", "presence", "frequency")
    for name in penalties:
        value = getattr(settings, name)
        if (value is None) != (settings.seen is None):
            raise KernelError(f"seen and {', '.join(penalties)} go together")
        if value is not None:
            _check_vector(name, value, torch.float32, rows, device)
    for name in ("seen", "bias"):
        ragged: Ragged | None = getattr(settings, name)
        if ragged is not None:
            _check_vector(f"{name}.start", ragged.start, torch.int32, rows + 1, device)
            _check_vector(f"{name}.token", ragged.token, torch.int32, len(ragged.token), device)
            _check_vector(f"{name}.value", ragged.value, torch.float32, len(ragged.token), device)


def _check_vector(name: str, x: Tensor, dtype: torch.dtype, size: int, device: torch.device) -> None:
    if x.shape != (size,) or x.dtype != dtype or x.device != device or not x.is_contiguous():
        raise KernelError(f"{name} is {_say(x)}: {dtype} [{size}] on {device} is needed, contiguous")


def _say(x: Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)} with strides {x.stride()} on {x.device}"
