"""Drawing the next tokens of a batch: the best, or by temperature, top-k, top-p, min-p and the inverse distribution.

Legend: R rows, V vocabulary. Rows are independent: a row's token is a function of its logits, settings and uniform
number alone, whatever else is drawn with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.kernels import native

CANDIDATES = 1024
"""Best tokens looked at first for top-p; where they hold too little, the whole row is sorted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Per row, on the logits' device: `temperature` > 0, `top_k` 0 is off, `top_p` in (0, 1], `min_p` in [0, 1].

    `uniform` float64 in [0, 1) decides the draw.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    uniform: Tensor


def uniform(seeds: NDArray[np.uint64], positions: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each (seed, position): splitmix64 (Steele, Lea and Flood, 2014), the same everywhere."""
    with np.errstate(over="ignore"):
        z = _mix(seeds) + (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def greedy(logits_rv: Tensor) -> tuple[Tensor, Tensor]:
    """Best token int64 [R] of each row and its logit; NaN where the row has one."""
    if native.is_plain(logits_rv) and logits_rv.is_contiguous() and (library := native.library()) is not None:
        token, best = torch.empty(len(logits_rv), dtype=torch.int64), torch.empty(len(logits_rv))
        library.argmax(
            logits_rv.data_ptr(), *logits_rv.shape, token.data_ptr(), best.data_ptr(), torch.get_num_threads()
        )
        return token, best
    best, token = logits_rv.max(dim=-1)
    return token, best


def draw(logits_rv: Tensor, settings: Settings) -> Tensor:
    """A token int64 [R] of each row."""
    probability = torch.softmax(logits_rv / settings.temperature.unsqueeze(1), dim=-1)
    if bool((settings.min_p > 0).any()):
        floor = probability.amax(-1, keepdim=True) * settings.min_p.unsqueeze(1)
        probability = torch.where(probability >= floor, probability, 0.0)
    limited = (settings.top_k > 0) | (settings.top_p < 1)
    if bool(limited.any()):
        rows = limited.nonzero().squeeze(1)
        probability[rows] = _keep_best(probability[rows], settings.top_k[rows], settings.top_p[rows])
    # In float64 the sum is in order of the vocabulary and ties can't move it.
    cumulative = probability.double().cumsum(-1)
    target = settings.uniform.unsqueeze(1) * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True).squeeze(1)
    return token.clamp_max(logits_rv.shape[1] - 1)


def _keep_best(probability_rv: Tensor, top_k_r: Tensor, top_p_r: Tensor) -> Tensor:
    """The rows with all but their top k tokens and, of those, the fewest that make up top p, set to zero."""
    vocab = probability_rv.shape[1]
    count = min(vocab, max(CANDIDATES, int(top_k_r.max())))
    kept, enough = _keep_among(probability_rv, top_k_r, top_p_r, count)
    if count < vocab and not bool(enough.all()):
        rest = (~enough).nonzero().squeeze(1)
        kept[rest] = _keep_among(probability_rv[rest], top_k_r[rest], top_p_r[rest], vocab)[0]
    return kept


def _keep_among(probability_rv: Tensor, top_k_r: Tensor, top_p_r: Tensor, count: int) -> tuple[Tensor, Tensor]:
    best, token = probability_rv.topk(count, dim=-1)
    rank = torch.arange(count, device=best.device)
    within_k = (top_k_r.unsqueeze(1) == 0) | (rank < top_k_r.unsqueeze(1))
    best = torch.where(within_k, best, 0.0)
    cumulative = best.cumsum(-1)
    # Of the top k their own sum is the whole; otherwise the sum of the row.
    whole = torch.where(top_k_r > 0, cumulative[:, -1], probability_rv.sum(-1))
    before = cumulative - best
    kept = torch.where((before < (top_p_r * whole).unsqueeze(1)) | (rank == 0), best, 0.0)
    enough = (top_k_r > 0) | (cumulative[:, -1] >= top_p_r * whole) | (top_p_r >= 1)
    return torch.zeros_like(probability_rv).scatter_(1, token, kept), enough


def log_probabilities(logits_rv: Tensor, token_r: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability [R] of each row's token, and the `count` best tokens [R, count] with theirs, best first."""
    whole = torch.logsumexp(logits_rv, dim=-1)
    drawn = logits_rv.gather(1, token_r.unsqueeze(1)).squeeze(1) - whole
    best, token = logits_rv.topk(min(count, logits_rv.shape[1]), dim=-1)
    return drawn, token, best - whole.unsqueeze(1)
