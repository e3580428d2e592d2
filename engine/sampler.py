"""Draws the next token of each row of logits by its request's parameters.

Legend: R rows, V vocabulary, W words of a mask. The number behind a draw is a function of the request's seed and the
token's position alone, so that a request repeats whatever shares its batch, and through preemption.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.messages import SamplingParams, TokenLogprob, TopLogprob
from espalier.engine.sequence import Sequence
from espalier.kernels.sampling import Ragged, Sampled, Settings, sample, uniform

LARGEST_TOP_K = 2**31 - 1
Entries = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Tokens of one row, rising, and a value for each."""
NO_ENTRIES: Entries = (np.empty(0, np.int32), np.empty(0, np.float32))


class Drawn(NamedTuple):
    """One row's result.

    `is_valid` is false where there is no token: where the logits were no numbers or, if `is_blocked`, where the mask
    and what the request bans leave nothing.
    """

    token_id: int
    is_valid: bool = True
    logprob: TokenLogprob | None = None
    is_blocked: bool = False


class Sampler:
    """`end_token_ids` are the model's own ends, which min_tokens keeps away."""

    def __init__(self, end_token_ids: tuple[int, ...]) -> None:
        self._end_token_ids = end_token_ids
        self._greedy: dict[tuple[int, torch.device], Settings] = {}

    def sample(
        self,
        logits_rv: Tensor,
        sequences: list[Sequence],
        masks: NDArray[np.int32] | None = None,
        is_masked: NDArray[np.bool_] | None = None,
        *,
        attempt: int = 0,
    ) -> list[Drawn]:
        """A token for each row; the logits, of any float type, stay as they are.

        A token that is drawn again for the same position has another `attempt`, and so another random number.

        `masks` int32 [R, W] allow token 32 i + j where bit j of word i is set, in the rows that `is_masked` [R] names
        (None: in all); tokens beyond the words are forbidden there.
        """
        device = logits_rv.device
        mask = None if masks is None else torch.from_numpy(masks).to(device, non_blocking=True)
        has_mask = None if is_masked is None else torch.from_numpy(is_masked).to(device, non_blocking=True)
        if all(map(_is_greedy, sequences)):
            plain = self._greedy_settings(len(sequences), device)
            settings = plain if mask is None else _masked(plain, mask, has_mask)
        else:
            settings = self._settings(sequences, device, mask, has_mask, attempt)
        found = sample(logits_rv, settings)
        # Together: on a GPU each list is a wait of its own.
        columns = torch.stack((found.token, found.is_valid, found.is_blocked)).tolist()
        logprobs = [None] * len(sequences) if settings.wants_logprob is None else _logprobs(found, sequences)
        return [
            Drawn(token_id, bool(is_valid), logprob, bool(is_blocked))
            for token_id, is_valid, is_blocked, logprob in zip(*columns, logprobs, strict=True)
        ]

    def only(self, logits_1v: Tensor, sequence: Sequence, mask_1w: NDArray[np.int32]) -> Drawn:
        """The one token that a mask allows, though the request bans it, as `sample` gives it to others."""
        device, count = logits_1v.device, sequence.params.logprobs
        plain, wants = self._greedy_settings(1, device), None
        if count is not None:
            wants = torch.ones(1, dtype=torch.bool, device=device)
        settings = _masked(plain, torch.from_numpy(mask_1w).to(device), None)
        found = sample(logits_1v, replace(settings, wants_logprob=wants, num_top=count or 0))
        [logprob] = [None] if wants is None else _logprobs(found, [sequence])
        return Drawn(int(found.token), bool(found.is_valid), logprob, bool(found.is_blocked))

    def _greedy_settings(self, rows: int, device: torch.device) -> Settings:
        """Those of rows that ask for nothing, which are kept: making them takes as long as a draw."""
        if (rows, device) not in self._greedy:
            off, on = torch.zeros(rows, device=device), torch.ones(rows, device=device)
            self._greedy[rows, device] = Settings(off, off.int(), on, off, off.double())
        return self._greedy[rows, device]

    def _settings(
        self,
        sequences: list[Sequence],
        device: torch.device,
        mask: Tensor | None,
        is_masked: Tensor | None,
        attempt: int,
    ) -> Settings:
        params = [sequence.params for sequence in sequences]
        seeds = np.array([sequence.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_generated for sequence in sequences], dtype=np.uint64)
        # No answer has 2^32 tokens: attempts are counted above them.
        positions += np.uint64(attempt << 32)
        wants = [p.logprobs is not None for p in params]
        seen = _ragged([_seen(sequence) for sequence in sequences], device)
        temperature, top_p, min_p, top_k, number = _together(params, uniform(seeds, positions), device)
        return Settings(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            uniform=number,
            mask=mask,
            is_masked=is_masked,
            seen=seen,
            repetition=None if seen is None else _vector([p.repetition_penalty for p in params], device),
            presence=None if seen is None else _vector([p.presence_penalty for p in params], device),
            frequency=None if seen is None else _vector([p.frequency_penalty for p in params], device),
            bias=_ragged([self._bias(sequence) for sequence in sequences], device),
            wants_logprob=torch.tensor(wants, device=device) if any(wants) else None,
            num_top=max((p.logprobs or 0 for p in params), default=0),
        )

    def _bias(self, sequence: Sequence) -> Entries:
        """What is added to which logits: the request's bias, and minus infinity to ends that min_tokens keeps away."""
        params = sequence.params
        if not params.logit_bias and sequence.num_generated >= params.min_tokens:
            return NO_ENTRIES
        banned = self._banned(sequence, params)
        tokens = np.array([*(token_id for token_id, _ in params.logit_bias), *banned], dtype=np.int32)
        added = np.array([*(bias for _, bias in params.logit_bias), *(-np.inf for _ in banned)], dtype=np.float32)
        token, at = np.unique(tokens, return_inverse=True)
        value = np.zeros(len(token), dtype=np.float32)
        np.add.at(value, at, added)
        return token, value

    def _banned(self, sequence: Sequence, params: SamplingParams) -> tuple[int, ...]:
        if sequence.num_generated >= params.min_tokens:
            return ()
        return (*self._end_token_ids, *params.stop_token_ids)


def _masked(plain: Settings, mask: Tensor, is_masked: Tensor | None) -> Settings:
    """Plain settings with masks; `dataclasses.replace` takes as long as all the rest of a step's settings."""
    return Settings(
        plain.temperature, plain.top_k, plain.top_p, plain.min_p, plain.uniform, mask=mask, is_masked=is_masked
    )


def _is_greedy(sequence: Sequence) -> bool:
    """Whether a row takes its best token, and nothing more is asked."""
    params = sequence.params
    return (
        params.temperature == 0
        and params.repetition_penalty == 1
        and not params.presence_penalty
        and not params.frequency_penalty
        and not params.logit_bias
        and params.logprobs is None
        and sequence.num_generated >= params.min_tokens
    )


def _together(
    params: list[SamplingParams], numbers: NDArray[np.float64], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Temperature, top-p and min-p float32 [R], top-k int32 [R] and the numbers float64 [R]: one copy to the device."""
    rows = len(params)
    packed = np.empty((6, rows), dtype=np.float32)
    packed[:3] = [[p.temperature for p in params], [p.top_p for p in params], [p.min_p for p in params]]
    packed[3] = np.array([min(p.top_k, LARGEST_TOP_K) for p in params], dtype=np.int32).view(np.float32)
    packed[4:] = numbers.view(np.float32).reshape(2, rows)
    there = torch.from_numpy(packed).to(device, non_blocking=True)
    temperature, top_p, min_p = there[:3]
    return temperature, top_p, min_p, there[3].view(torch.int32), there[4:].flatten().view(torch.float64)


def _vector(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


def _seen(sequence: Sequence) -> Entries:
    """The tokens that penalties are on, and how often each is in the answer."""
    params = sequence.params
    has_own = params.presence_penalty != 0 or params.frequency_penalty != 0
    if params.repetition_penalty == 1 and not has_own:
        return NO_ENTRIES
    said, count = np.unique(sequence.ids(sequence.prompt_len, sequence.length), return_counts=True)
    if params.repetition_penalty == 1:
        return said, count.astype(np.float32)
    token = np.unique(sequence.ids(0, sequence.length))
    value = np.zeros(len(token), dtype=np.float32)
    value[np.searchsorted(token, said)] = count
    return token, value


def _ragged(rows: list[Entries], device: torch.device) -> Ragged | None:
    """The rows' entries together; None if there are none."""
    start = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(token) for token, _ in rows], out=start[1:])
    if not start[-1]:
        return None
    token, value = np.concatenate([token for token, _ in rows]), np.concatenate([value for _, value in rows])
    return Ragged(*(torch.from_numpy(each).to(device) for each in (start, token, value)))


def _logprobs(found: Sampled, sequences: list[Sequence]) -> list[TokenLogprob | None]:
    if found.logprob is None or found.top_token is None or found.top_logprob is None:
        return [None] * len(sequences)
    columns = (x.tolist() for x in (found.token, found.is_valid, found.logprob, found.top_token, found.top_logprob))
    logprobs: list[TokenLogprob | None] = []
    for sequence, token_id, is_valid, logprob, tokens, values in zip(sequences, *columns, strict=True):
        count = sequence.params.logprobs
        if count is None or not is_valid:
            logprobs.append(None)
            continue
        top = (TopLogprob(*pair) for pair in zip(tokens[:count], values[:count], strict=True) if pair[0] >= 0)
        logprobs.append(TokenLogprob(token_id, logprob, tuple(top)))
    return logprobs
