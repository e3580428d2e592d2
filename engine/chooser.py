"""Chooses the next token of each row: by its grammar's mask, the sampler, and what its budget leaves room for.

A token that a grammar allows but the budget doesn't is drawn again without it, with another number of the same seed:
what comes out is distributed as if it had never been allowed. Only where many tokens are allowed and MOST_DRAWS draws
did not fit is the answer closed by a short completion. `min_tokens` yields where nothing but the end is left.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.guide import Guide
from espalier.engine.output_head import Few
from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.sequence import Sequence
from espalier.engine.work import Work
from espalier.grammar.token_mask import allow, forbid

MOST_DRAWS = 8
"""Draws of one token before those that fit are looked for."""

Masks = NDArray[np.int32]


def few_of(wanting: list[Work], *, all_or_none: bool = False) -> list[Few | None]:
    """The tokens that each row may draw, where that is all that anybody will ask of its logits; else None.

    Rows are those of `logit_rows`. Log-probabilities are those of the whole vocabulary, and who asks for them drafts
    nothing. With `all_or_none` nothing is returned if any row is None, and no row behind it is asked.
    """
    few: list[Few | None] = []
    for work in wanting:
        sequence = work.sequence
        few.append(None if sequence.guide is None or sequence.params.logprobs is not None else sequence.guide.few())
        few += [draft.few() for draft in sequence.drafts[: len(work.drafts)]]
        if all_or_none and any(one is None for one in few[-1 - len(work.drafts) :]):
            return []
    return few


class Chooser:
    """`num_words` are the words of a mask. Counts the tokens that were drawn again."""

    def __init__(self, sampler: Sampler, num_words: int) -> None:
        self._sampler, self._num_words = sampler, num_words
        self._masks: Masks = np.empty((0, num_words), dtype=np.int32)
        self.num_redrawn = 0

    def choose(self, logits_rv: Tensor, sequences: list[Sequence]) -> list[Drawn]:
        """A token for each row. The sequences' guides know it as proposed; nothing else has changed."""
        is_masked = np.array([sequence.guide is not None for sequence in sequences])
        if not is_masked.any():
            return self._sampler.sample(logits_rv, sequences)
        masks = self._room(len(sequences))
        _fill_all(masks, sequences)
        drawn = self._sampler.sample(logits_rv, sequences, masks, None if is_masked.all() else is_masked)
        for at, (sequence, one) in enumerate(zip(sequences, drawn, strict=True)):
            if sequence.guide is not None and not _fits(sequence.guide, one, sequence):
                again = _Again(self._sampler, logits_rv[at : at + 1], sequence, masks[at : at + 1])
                drawn[at] = again.until_it_fits(one)
                self.num_redrawn += again.num_redrawn
        return drawn

    def _room(self, rows: int) -> Masks:
        """Memory for so many masks, the same in each step: a GPU copies from pinned memory by itself."""
        if len(self._masks) < rows:
            room = torch.empty(rows, self._num_words, dtype=torch.int32, pin_memory=torch.cuda.is_available())
            self._masks = room.numpy()
        return self._masks[:rows]


def _fill_all(masks: Masks, sequences: list[Sequence]) -> None:
    """Write each row's mask; rows without a guide stay as they are."""
    for row, sequence in zip(masks, sequences, strict=True):
        if sequence.guide is not None:
            sequence.guide.fill(row)


def _fits(guide: Guide, drawn: Drawn, sequence: Sequence) -> bool:
    """Whether the token, which is proposed then, leaves room to complete the answer."""
    return drawn.is_valid and guide.propose(drawn.token_id, sequence.max_len - sequence.length - 1)


class _Again:
    """Draws a row's token, which did not fit, again until the answer can still be completed after it."""

    def __init__(self, sampler: Sampler, logits_1v: Tensor, sequence: Sequence, mask_1w: Masks) -> None:
        self._sampler, self._logits, self._sequence, self._mask = sampler, logits_1v, sequence, mask_1w
        self.num_redrawn = 0

    def until_it_fits(self, drawn: Drawn) -> Drawn:
        guide, num_left = self._sequence.guide, self._sequence.max_len - self._sequence.length - 1
        assert guide is not None
        while drawn.is_valid:
            self.num_redrawn += 1
            few = guide.few()
            if self.num_redrawn < MOST_DRAWS and (few is None or len(few) > 2 * MOST_DRAWS):
                forbid(self._mask[0], np.array([drawn.token_id], dtype=np.int32))
            else:
                self._allow_only(guide.fitting(num_left))
            [drawn] = self._sampler.sample(self._logits, [self._sequence], self._mask, attempt=self.num_redrawn)
            if _fits(guide, drawn, self._sequence):
                return drawn
        end = guide.can_end() if drawn.is_blocked else None
        if end is not None and guide.propose(end, num_left):
            self._allow_only(np.array([end], dtype=np.int32))
            return self._sampler.only(self._logits, self._sequence, self._mask)
        return drawn

    def _allow_only(self, tokens: NDArray[np.int32]) -> None:
        self._mask[0] = 0
        allow(self._mask[0], tokens)
