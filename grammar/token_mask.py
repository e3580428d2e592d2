"""Packed masks: int32, token 32 i + j in bit j of word i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """`base` with `words` (intp: numpy converts others at each use) replaced by `values`.

    `tokens` lists what is allowed where that is little.
    """

    base: np.ndarray
    words: np.ndarray | None
    values: np.ndarray | None
    tokens: np.ndarray | None

    def fill(self, out: np.ndarray) -> None:
        """Write the mask into int32[num_words]."""
        out[:] = self.base
        if self.words is not None and self.values is not None:
            out[self.words] = self.values

    def packed(self) -> np.ndarray:
        """The mask as an array of its own."""
        out = np.empty_like(self.base)
        self.fill(out)
        return out

    @property
    def num_bytes(self) -> int:
        """What it takes by itself."""
        return 300 + sum(part.nbytes for part in (self.words, self.values, self.tokens) if part is not None)


def difference(packed: np.ndarray, base: np.ndarray, tokens: np.ndarray | None = None) -> Mask:
    """A mask over a base; by itself where the two have little in common."""
    words = np.flatnonzero(packed != base)
    if words.size > packed.size // 4:
        return Mask(packed, None, None, tokens)
    if not words.size:
        return Mask(base, None, None, tokens)
    return Mask(base, words, packed[words], tokens)


def allow(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens in a packed mask."""
    np.bitwise_or.at(packed, tokens >> 5, np.left_shift(1, tokens & 31, dtype=np.int32))


def forbid(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens no more."""
    np.bitwise_and.at(packed, tokens >> 5, ~np.left_shift(1, tokens & 31, dtype=np.int32))
