"""Draws the next token of each row of logits by its request's parameters and its grammar's mask.

Legend: R rows, V vocabulary, W words of a mask. The number behind a draw is a function of the request's seed and the
token's position alone, so that a request repeats whatever shares its batch, and through preemption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.messages import SamplingParams, TokenLogprob, TopLogprob
from espalier.engine.sequence import Sequence
from espalier.kernels.sampling import Ragged, Sampled, Settings, sample, uniform

Entries = tuple[NDArray[np.int32], NDArray[np.float32]]
NO_ENTRIES: Entries = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))
ATTEMPT = np.uint64(2**40)
"""Positions between a token's draws: no answer is as long."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One row's result. `is_valid` is false where the logits were no numbers, and where nothing was left to choose:
    `is_blocked`.
    """

    token_id: int
    is_valid: bool = True
    is_blocked: bool = False
    logprob: TokenLogprob | None = None


class Sampler:
    """`end_token_ids` are the model's own ends, which min_tokens keeps away."""

    def __init__(self, end_token_ids: tuple[int, ...]) -> None:
        self._end_token_ids = end_token_ids

    def sample(
        self,
        logits_rv: Tensor,
        sequences: list[Sequence],
        masks: NDArray[np.int32] | None = None,
        is_masked: NDArray[np.bool_] | None = None,
        attempt: int = 0,
    ) -> list[Drawn]:
        """A token for each row. `masks` int32 [R, W] hold for the rows of `is_masked` bool [R], default for all.

        Each `attempt` at the same token draws by another number.
        """
        device = logits_rv.device
        settings = self._settings(sequences, device, attempt)
        if masks is not None:
            settings = replace(settings, mask=torch.from_numpy(masks).to(device))
            if is_masked is not None and not is_masked.all():
                settings = replace(settings, is_masked=torch.from_numpy(is_masked).to(device))
        return _drawn(sample(logits_rv, settings), sequences)

    def _settings(self, sequences: list[Sequence], device: torch.device, attempt: int) -> Settings:
        params = [sequence.params for sequence in sequences]
        seeds = np.array([sequence.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_generated for sequence in sequences], dtype=np.uint64)
        settings = Settings(
            temperature=_column(params, lambda p: p.temperature, torch.float32, device),
            top_k=_column(params, lambda p: p.top_k if p.top_k < 2**31 else 0, torch.int32, device),
            top_p=_column(params, lambda p: p.top_p, torch.float32, device),
            min_p=_column(params, lambda p: p.min_p, torch.float32, device),
            uniform=torch.from_numpy(uniform(seeds, positions + ATTEMPT * np.uint64(attempt))).to(device),
        )
        if any(map(_has_penalties, params)):
            settings = replace(
                settings,
                seen=_ragged([_seen(sequence) for sequence in sequences], device),
                repetition=_column(params, lambda p: p.repetition_penalty, torch.float32, device),
                presence=_column(params, lambda p: p.presence_penalty, torch.float32, device),
                frequency=_column(params, lambda p: p.frequency_penalty, torch.float32, device),
            )
        biases = [self._bias(sequence) for sequence in sequences]
        if any(len(tokens) for tokens, _ in biases):
            settings = replace(settings, bias=_ragged(biases, device))
        if any(p.logprobs is not None for p in params):
            wants = _column(params, lambda p: p.logprobs is not None, torch.bool, device)
            settings = replace(settings, wants_logprob=wants, num_top=max(p.logprobs or 0 for p in params))
        return settings

    def _bias(self, sequence: Sequence) -> Entries:
        """What is added to some tokens' logits: the request's bias, and what keeps ends away until min_tokens."""
        params = sequence.params
        banned = (*self._end_token_ids, *params.stop_token_ids) if sequence.num_generated < params.min_tokens else ()
        if not params.logit_bias and not banned:
            return NO_ENTRIES
        added: dict[int, float] = {}
        for token, bias in params.logit_bias:
            added[token] = added.get(token, 0.0) + bias
        added |= dict.fromkeys(banned, -np.inf)
        tokens = sorted(added)
        return np.array(tokens, dtype=np.int32), np.array([added[token] for token in tokens], dtype=np.float32)


def _has_penalties(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1 or params.presence_penalty != 0 or params.frequency_penalty != 0


def _seen(sequence: Sequence) -> Entries:
    """The tokens of prompt and answer, and how often each is in the answer."""
    if not _has_penalties(sequence.params):
        return NO_ENTRIES
    tokens, place = np.unique(sequence.ids(0, sequence.length), return_inverse=True)
    counts = np.bincount(place[sequence.prompt_len :], minlength=len(tokens))
    return tokens, counts.astype(np.float32)


def _column(
    params: list[SamplingParams], of: Callable[[SamplingParams], float], dtype: torch.dtype, device: torch.device
) -> Tensor:
    return torch.tensor([of(p) for p in params], dtype=dtype, device=device)


def _ragged(rows: list[Entries], device: torch.device) -> Ragged:
    start = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(tokens) for tokens, _ in rows], out=start[1:])
    tokens, values = (np.concatenate(part) for part in zip(*rows, strict=True))
    return Ragged(*(torch.from_numpy(x).to(device) for x in (start, tokens, values)))


def _drawn(found: Sampled, sequences: list[Sequence]) -> list[Drawn]:
    logprobs = _logprobs(found, sequences)
    rows = zip(found.token.tolist(), found.is_valid.tolist(), found.is_blocked.tolist(), logprobs, strict=True)
    return [Drawn(*row) for row in rows]


def _logprobs(found: Sampled, sequences: list[Sequence]) -> list[TokenLogprob | None]:
    if found.logprob is None or found.top_token is None or found.top_logprob is None:
        return [None] * len(sequences)
    drawn, tokens, values = (x.tolist() for x in (found.logprob, found.top_token, found.top_logprob))
    told: list[TokenLogprob | None] = []
    for row, (sequence, token) in enumerate(zip(sequences, found.token.tolist(), strict=True)):
        number = sequence.params.logprobs
        pairs = zip(tokens[row][:number], values[row][:number], strict=True)
        top = tuple(TopLogprob(token_id, logprob) for token_id, logprob in pairs if token_id >= 0)
        told.append(None if number is None else TokenLogprob(token, drawn[row], top))
    return told
