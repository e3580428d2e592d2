"""Chooses the next token of each row: by its grammar's mask, the sampler, and what its budget leaves room for.

A token that a grammar allows but the budget doesn't is drawn again without it, with another number of the same seed:
what comes out is distributed as if it had never been allowed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.sequence import Sequence

MOST_DRAWS = 8
"""Draws of one token before those that fit are looked for."""

Masks = NDArray[np.int32]


class Chooser:
    """`num_words` are the words of a mask. Counts the tokens that were drawn again."""

    def __init__(self, sampler: Sampler, num_words: int) -> None:
        self._sampler, self._num_words = sampler, num_words
        self.num_redrawn = 0

    def masks(self, sequences: list[Sequence]) -> Masks | None:
        """The masks [R, num_words] of rows with a grammar, all ones for the others; None if no row has one."""
        if all(sequence.guide is None for sequence in sequences):
            return None
        masks = np.full((len(sequences), self._num_words), -1, dtype=np.int32)
        for row, sequence in zip(masks, sequences, strict=True):
            if sequence.guide is not None:
                sequence.guide.fill(row)
        return masks

    def choose(self, logits_rv: Tensor, sequences: list[Sequence]) -> list[Drawn]:
        """A token for each row. The sequences' guides know it as proposed; nothing else has changed."""
        masks = self.masks(sequences)
        if masks is None:
            return self._sampler.sample(logits_rv, sequences)
        is_masked = np.array([sequence.guide is not None for sequence in sequences])
        drawn = self._sampler.sample(logits_rv, sequences, masks, is_masked)
        for row, sequence in enumerate(sequences):
            if sequence.guide is not None and drawn[row].is_valid:
                again = _Again(self._sampler, logits_rv[row : row + 1], sequence, masks[row : row + 1])
                drawn[row] = again.until_it_fits(drawn[row])
                self.num_redrawn += again.num_redrawn
        return drawn


class _Again:
    """Draws a row's token again until the answer can still be completed after it."""

    def __init__(self, sampler: Sampler, logits_1v: Tensor, sequence: Sequence, mask_1w: Masks) -> None:
        self._sampler, self._logits, self._sequence, self._mask = sampler, logits_1v, sequence, mask_1w
        self._num_left = sequence.max_len - sequence.length - 1
        self.num_redrawn = 0

    def until_it_fits(self, drawn: Drawn) -> Drawn:
        guide = self._sequence.guide
        assert guide is not None
        while drawn.is_valid and not guide.propose(drawn.token_id, self._num_left):
            self.num_redrawn += 1
            if self.num_redrawn < MOST_DRAWS:
                self._forbid(drawn.token_id)
            else:
                self._allow_only(guide.fitting(self._num_left))
            [drawn] = self._sampler.sample(
                self._logits, [self._sequence], self._mask, np.ones(1, dtype=np.bool_), attempt=self.num_redrawn
            )
        return drawn

    def _forbid(self, token: int) -> None:
        self._mask[0, token >> 5] &= ~np.int32(1 << (token & 31)) if token & 31 != 31 else np.int32(0x7FFFFFFF)

    def _allow_only(self, tokens: NDArray[np.int32]) -> None:
        self._mask[0] = 0
        np.bitwise_or.at(self._mask[0], tokens >> 5, np.left_shift(1, tokens & 31, dtype=np.int32))
