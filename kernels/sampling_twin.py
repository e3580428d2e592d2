"""Drawing the next tokens of a batch, in plain torch, and natively where the logits are float32 on the CPU.

Legend: R rows, V vocabulary, W words of the mask, K tokens that are looked at. A row keeps the tokens above a cut: all
whose logit is more than `floor`, and of those that equal it the first `ties`, by rising token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.kernels import native
from espalier.kernels.sampling_settings import Ragged, Sampled, Settings

CANDIDATES = 1024
"""Best tokens looked at first for top-p; where they hold too little, the whole row is sorted."""
SUB_BLOCK = 128
"""Tokens that are summed up in float32; beyond them sums are float64."""
NARROW = 8
"""Where each row has nonzero words in at most a 1 / NARROW of its mask, those tokens alone are looked at."""
ALL_TIES = 2**31 - 1
INFINITY = math.inf


@dataclass(frozen=True, slots=True)
class Mask:
    """`words` int32 [R, W] and which rows have one (None: all)."""

    words: Tensor
    is_masked: Tensor | None

    def __getitem__(self, rows: Tensor) -> Mask:
        return Mask(self.words[rows], None if self.is_masked is None else self.is_masked[rows])

    def has_allowed(self, vocab: int) -> Tensor:
        """Bool [R]: which rows allow any token."""
        found = self.words[:, : -(-vocab // 32)].ne(0)
        if vocab % 32 and found.shape[1] > vocab // 32:
            found[:, -1] = (self.words[:, vocab // 32] & ((1 << vocab % 32) - 1)).ne(0)
        return found.any(1) if self.is_masked is None else found.any(1) | ~self.is_masked

    def native_arguments(self) -> tuple[int, int, int, int | None]:
        """Address, stride and count of the words, and where it is said which rows have a mask."""
        return self.words.data_ptr(), self.words.stride(0), self.words.shape[1], native.pointer(self.is_masked)


def sample_twin(logits_rv: Tensor, settings: Settings) -> Sampled:
    """See `sampling.sample`."""
    mask = None if settings.mask is None else Mask(settings.mask, settings.is_masked)
    if settings.seen is None and settings.bias is None:
        found, _ = draw_rows(logits_rv, mask, settings)
    else:
        # Whether a row is one of numbers is said of its logits as they came.
        raw, _ = draw_rows(logits_rv, mask, None)
        found, best_r = draw_rows(_adjust(logits_rv, settings), mask, settings)
        is_valid = raw.is_valid & found.is_valid
        is_banned = raw.is_valid & (best_r == -INFINITY)
        found = Sampled(found.token.masked_fill_(~is_valid, 0), is_valid, raw.is_blocked | is_banned)
    return found if settings.wants_logprob is None else _with_logprobs(logits_rv, settings, found)


def draw_rows(x_rv: Tensor, mask: Mask | None, settings: Settings | None) -> tuple[Sampled, Tensor]:
    """A token of each row, and its largest allowed logit float32 [R]; without settings the best token.

    The logit is minus infinity where none is allowed, NaN where an allowed one is.
    """
    library = native.library() if native.is_plain(x_rv) and (x_rv.stride(1) == 1 or x_rv.shape[1] == 1) else None
    if library is None:
        return _torch_rows(x_rv, mask, settings)
    rows = len(x_rv)
    token_r, best_r = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
    is_valid, is_blocked = torch.empty(rows, dtype=torch.bool), torch.empty(rows, dtype=torch.bool)
    names = ("temperature", "top_k", "top_p", "min_p", "uniform")
    library.sample(
        x_rv.data_ptr(), x_rv.stride(0), *x_rv.shape,
        *((None, 0, 0, None) if mask is None else mask.native_arguments()),
        *(None if settings is None else getattr(settings, name).data_ptr() for name in names),
        token_r.data_ptr(), is_valid.data_ptr(), is_blocked.data_ptr(), best_r.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return Sampled(token_r, is_valid, is_blocked), best_r


def _torch_rows(x_rv: Tensor, mask: Mask | None, settings: Settings | None) -> tuple[Sampled, Tensor]:
    token_r, best_r = torch.empty(len(x_rv), dtype=torch.int64, device=x_rv.device), x_rv.new_empty(len(x_rv)).float()
    for rows in _alike(len(x_rv), mask, x_rv.device):
        is_whole = len(rows) == len(x_rv)
        values, token_rk = allowed_values(
            x_rv if is_whole else x_rv[rows], mask if mask is None or is_whole else mask[rows]
        )
        best, at = values.max(dim=-1)
        if settings is not None:
            drawn = ((settings.temperature[rows] > 0) & torch.isfinite(best)).nonzero().squeeze(1)
            if len(drawn):
                chosen = values if len(drawn) == len(values) else values[drawn]
                at[drawn] = _draw(chosen, best[drawn], settings, rows[drawn])
        token_r[rows] = at if token_rk is None else token_rk.gather(1, at.unsqueeze(1)).squeeze(1)
        best_r[rows] = best
    is_valid = torch.isfinite(best_r)
    is_blocked = torch.zeros_like(is_valid) if mask is None else ~mask.has_allowed(x_rv.shape[1])
    return Sampled(token_r.masked_fill_(~is_valid, 0), is_valid, is_blocked), best_r


def _alike(count: int, mask: Mask | None, device: torch.device) -> list[Tensor]:
    """The rows with and those without a mask: few tokens are looked at only where all have one."""
    if mask is None or mask.is_masked is None:
        return [torch.arange(count, device=device)]
    parts = [mask.is_masked.nonzero().squeeze(1), (~mask.is_masked).nonzero().squeeze(1)]
    return [rows for rows in parts if len(rows)]


def _adjust(logits_rv: Tensor, settings: Settings) -> Tensor:
    """The logits float32 with their penalties and bias."""
    x_rv = logits_rv.float()
    if x_rv.data_ptr() == logits_rv.data_ptr():
        x_rv = x_rv.clone()
    seen, bias = settings.seen, settings.bias
    if seen is not None:
        assert settings.repetition is not None and settings.presence is not None and settings.frequency is not None
        row, token, count = _entries(seen)
        score, repetition = x_rv[row, token], settings.repetition[row]
        score = torch.where(score > 0, score / repetition, score * repetition)
        said = settings.presence[row] + settings.frequency[row] * count
        x_rv[row, token] = torch.where(count > 0, score - said, score)
    if bias is not None:
        row, token, value = _entries(bias)
        x_rv[row, token] += value
    return x_rv


def _entries(ragged: Ragged) -> tuple[Tensor, Tensor, Tensor]:
    """The row, token and value of each entry."""
    lengths = (ragged.start[1:] - ragged.start[:-1]).long()
    row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    return row, ragged.token[: len(row)].long(), ragged.value[: len(row)]


def allowed_values(x_rv: Tensor, mask: Mask | None) -> tuple[Tensor, Tensor | None]:
    """The logits float32 [R, K] with minus infinity where forbidden, and their tokens int64 [R, K], None if all."""
    x_rv = x_rv.float()
    if mask is None:
        return x_rv, None
    vocab = x_rv.shape[1]
    words = mask.words[:, : -(-vocab // 32)]
    if mask.is_masked is None or bool(mask.is_masked.all()):
        row, word = words.nonzero(as_tuple=True)
        count = torch.bincount(row, minlength=len(words))
        most = int(count.max()) if len(words) else 0
        if most * NARROW <= words.shape[1]:
            return _gather(x_rv, words, row, word, count, max(most, 1))
    bits = _bits(words.contiguous())[:, :vocab]
    if bits.shape[1] < vocab:
        bits = torch.nn.functional.pad(bits, (0, vocab - bits.shape[1]))
    if mask.is_masked is not None:
        bits = bits | ~mask.is_masked.unsqueeze(1)
    return torch.where(bits, x_rv, -INFINITY), None


def _gather(
    x_rv: Tensor, words: Tensor, row: Tensor, word: Tensor, count: Tensor, most: int
) -> tuple[Tensor, Tensor | None]:
    """Only the tokens of the words that allow any, `most` words for each row."""
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    chosen = torch.zeros(len(words), most, dtype=torch.int64, device=row.device)
    filled = torch.zeros(len(words), most, dtype=torch.int32, device=row.device)
    chosen[row, place], filled[row, place] = word, words[row, word]
    token_rk = (chosen.unsqueeze(2) * 32 + torch.arange(32, device=row.device)).flatten(1)
    is_allowed = _bits(filled) & (token_rk < x_rv.shape[1])
    token_rk = token_rk.clamp_max(x_rv.shape[1] - 1)
    return torch.where(is_allowed, x_rv.gather(1, token_rk), -INFINITY), token_rk


def _bits(words: Tensor) -> Tensor:
    """Bool [R, 32 W] of int32 [R, W], lowest bit first."""
    octets = words.view(torch.uint8).unsqueeze(2)
    shift = torch.arange(8, dtype=torch.uint8, device=words.device)
    return ((octets >> shift) & 1).flatten(1).bool()


def _draw(x_rk: Tensor, most_r: Tensor, settings: Settings, rows: Tensor) -> Tensor:
    """The place int64 [R] in each row at which the draw of the settings' `rows` falls."""
    temperature, top_k, top_p = settings.temperature[rows], settings.top_k[rows], settings.top_p[rows]
    scale = 1 / temperature.clamp_min(1e-20)
    # p >= min_p times the largest p, said of logits.
    floor = most_r + temperature * settings.min_p[rows].log()
    ties = torch.full_like(rows, ALL_TIES, dtype=torch.int32)
    is_limited = (top_k > 0) | (top_p < 1)
    if bool(is_limited.any()):
        which = is_limited.nonzero().squeeze(1)
        of_rows = (each[which] for each in (x_rk, most_r, scale, floor, top_k, top_p))
        floor[which], ties[which] = find_cut(*of_rows)
    weight = _weight(x_rk, most_r, scale)
    if bool((floor > -INFINITY).any()):
        is_floor = x_rk == floor.unsqueeze(1)
        weight = torch.where((x_rk > floor.unsqueeze(1)) | is_floor, weight, 0.0)
        if bool((is_floor.sum(1) > ties).any()):
            weight = weight.masked_fill(is_floor & (is_floor.cumsum(1) > ties.unsqueeze(1)), 0.0)
    return _invert(weight, settings.uniform[rows])


def find_cut(
    x_rv: Tensor, most_r: Tensor, scale_r: Tensor, floor_r: Tensor, top_k_r: Tensor, top_p_r: Tensor
) -> tuple[Tensor, Tensor]:
    """Floor and ties int32 [R] of the top k that are at least `floor_r` and, of those, the fewest that make top p.

    Forbidden logits are minus infinity. Equals are taken by rising token.
    """
    vocab = x_rv.shape[1]
    count = min(vocab, max(CANDIDATES, int(top_k_r.clamp_max(vocab).max())))
    floor, ties, enough = _cut_among(count, x_rv, most_r, scale_r, floor_r, top_k_r, top_p_r)
    if count < vocab and not bool(enough.all()):
        rest = (~enough).nonzero().squeeze(1)
        of_rest = (each[rest] for each in (x_rv, most_r, scale_r, floor_r, top_k_r, top_p_r))
        floor[rest], ties[rest], _ = _cut_among(vocab, *of_rest)
    return floor, ties


def _cut_among(
    count: int, x_rv: Tensor, most_r: Tensor, scale_r: Tensor, floor_r: Tensor, top_k_r: Tensor, top_p_r: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    best = x_rv.topk(count, dim=-1).values
    rank = torch.arange(count, device=best.device)
    is_kept = (best >= floor_r.unsqueeze(1)) & (best > -INFINITY)
    is_kept &= (top_k_r.unsqueeze(1) == 0) | (rank < top_k_r.unsqueeze(1))
    weight = torch.where(is_kept, _weight(best, most_r, scale_r), 0.0).double()
    mass = weight.cumsum(-1)
    is_bounded = (top_k_r > 0) | (best[:, -1] < floor_r) | (count == x_rv.shape[1])
    wanted = mass[:, -1]
    if not bool(is_bounded.all()):
        rest = (~is_bounded).nonzero().squeeze(1)
        above = torch.where(
            x_rv[rest] >= floor_r[rest].unsqueeze(1), _weight(x_rv[rest], most_r[rest], scale_r[rest]), 0.0
        )
        wanted = wanted.index_copy(0, rest, above.sum(-1, dtype=torch.float64))
    wanted = torch.where(top_p_r < 1, wanted * top_p_r, INFINITY)
    before = torch.nn.functional.pad(mass[:, :-1], (1, 0))
    is_kept &= (before < wanted.unsqueeze(1)) | (rank == 0)
    last = is_kept.sum(1, keepdim=True) - 1
    floor = best.gather(1, last)
    ties = (is_kept & (best == floor)).sum(1, dtype=torch.int32)
    return floor.squeeze(1), ties, is_bounded | (mass[:, -1] >= wanted)


def _weight(x_rv: Tensor, most_r: Tensor, scale_r: Tensor) -> Tensor:
    return torch.exp((x_rv - most_r.unsqueeze(1)) * scale_r.unsqueeze(1))


def _invert(weight_rk: Tensor, uniform_r: Tensor) -> Tensor:
    """The first place where the weights' running sum exceeds `uniform` of the whole: its sub-block, then within it."""
    rows, size = weight_rk.shape
    weight_rk = torch.nn.functional.pad(weight_rk, (0, -size % SUB_BLOCK))
    weight_rbs = weight_rk.view(rows, -1, SUB_BLOCK)
    mass = weight_rbs.sum(-1).double().cumsum(-1)
    target = uniform_r.unsqueeze(1) * mass[:, -1:]
    block = torch.searchsorted(mass, target, right=True)
    last = (mass < mass[:, -1:]).sum(1, keepdim=True)
    block = torch.minimum(block, last)
    before = torch.nn.functional.pad(mass, (1, 0)).gather(1, block)
    inside = weight_rbs[torch.arange(rows, device=block.device), block.squeeze(1)]
    running = before + inside.double().cumsum(-1)
    at = torch.searchsorted(running, target, right=True)
    # Rounding may leave the target beyond the sum: the last token that has any weight is meant then.
    place = torch.arange(SUB_BLOCK, device=block.device)
    at = torch.minimum(at, torch.where(inside > 0, place, 0).amax(1, keepdim=True))
    return (block * SUB_BLOCK + at).squeeze(1)


def _with_logprobs(logits_rv: Tensor, settings: Settings, found: Sampled) -> Sampled:
    assert settings.wants_logprob is not None
    count, device = min(settings.num_top, logits_rv.shape[1]), logits_rv.device
    token_r, is_valid = found.token, found.is_valid
    logprob_r = torch.full((len(logits_rv),), math.nan, device=device)
    top_token = torch.full((len(logits_rv), count), -1, dtype=torch.int64, device=device)
    top_logprob = torch.full((len(logits_rv), count), math.nan, device=device)
    rows = (settings.wants_logprob & is_valid).nonzero().squeeze(1)
    if len(rows):
        x_kv = (logits_rv if len(rows) == len(logits_rv) else logits_rv[rows]).float()
        whole = torch.logsumexp(x_kv, dim=-1)
        logprob_r[rows] = x_kv.gather(1, token_r[rows].unsqueeze(1)).squeeze(1) - whole
        best, top = _find_top(x_kv, count)
        is_some = top > -INFINITY
        top_token[rows] = torch.where(is_some, best, -1)
        top_logprob[rows] = torch.where(is_some, top - whole.unsqueeze(1), math.nan)
        broken = rows[~torch.isfinite(whole)]
        is_valid[broken], logprob_r[broken], top_token[broken], top_logprob[broken] = False, math.nan, -1, math.nan
    return Sampled(token_r.masked_fill_(~is_valid, 0), is_valid, found.is_blocked, logprob_r, top_token, top_logprob)


def _find_top(x_rv: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best tokens int64 and their logits, best first, equals by rising token."""
    best, token = x_rv.topk(min(count + 1, x_rv.shape[1]), dim=-1)
    if bool((best[:, 1:] == best[:, :-1]).any()):
        best, token = x_rv.sort(dim=-1, descending=True, stable=True)
    return token[:, :count], best[:, :count]
