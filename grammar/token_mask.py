"""Packed masks: int32, token 32 i + j in bit j of word i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEW = 256  # tokens: as many are also listed


@dataclass(slots=True, eq=False)
class Mask:
    """`base` with `words` (intp: numpy converts others at each use) replaced by `values`.

    `tokens` lists what is allowed where that is little; `few` finds out where nobody has yet (`is_listed`).
    """

    base: np.ndarray
    words: np.ndarray | None
    values: np.ndarray | None
    tokens: np.ndarray | None
    is_listed: bool = False

    def few(self) -> np.ndarray | None:
        """The ids of the tokens that are allowed, ascending, if they are at most FEW."""
        if not self.is_listed:
            packed = self.packed()
            self.tokens = unpacked(packed) if num_allowed(packed) <= FEW else None
            self.is_listed = True
        return self.tokens

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


def num_allowed(packed: np.ndarray) -> int:
    """How many tokens a packed mask allows."""
    return int(np.bitwise_count(packed.view(np.uint32)).sum())


def unpacked(packed: np.ndarray) -> np.ndarray:
    """The ids that a packed mask allows, ascending, int32."""
    words = np.flatnonzero(packed)
    bits = np.unpackbits(packed[words].view(np.uint8), bitorder="little")
    places = np.flatnonzero(bits)
    found: np.ndarray = (words[places >> 5] << 5) + (places & 31)
    return found.astype(np.int32)


def difference(packed: np.ndarray, base: np.ndarray) -> Mask:
    """A mask over a base; by itself where the two have little in common."""
    words = np.flatnonzero(packed != base)
    if words.size > packed.size // 4:
        return Mask(packed, None, None, None)
    if not words.size:
        return Mask(base, None, None, None)
    return Mask(base, words, packed[words], None)


def allow(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens in a packed mask."""
    np.bitwise_or.at(packed, tokens >> 5, np.left_shift(1, tokens & 31, dtype=np.int32))


def forbid(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens no more."""
    np.bitwise_and.at(packed, tokens >> 5, ~np.left_shift(1, tokens & 31, dtype=np.int32))
