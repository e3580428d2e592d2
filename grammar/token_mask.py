"""Packed masks: int32, token 32 i + j in bit j of word i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEW = 256  # tokens: as many are also listed
_FEW_CHANGED = 64  # tokens or words: more are changed in arrays


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


def few(nothing: np.ndarray, tokens: list[int]) -> Mask:
    """The mask of a few tokens, ascending, over one that allows nothing."""
    by_word = dict[int, int]()
    for token in tokens:
        by_word[token >> 5] = by_word.get(token >> 5, 0) | 1 << (token & 31)
    return Mask(nothing, *_columns(by_word), np.array(tokens, dtype=np.int32), True)


def changed(mask: Mask, forbidden: list[np.ndarray], allowed: np.ndarray) -> Mask:
    """A mask with some tokens forbidden, and then others allowed."""
    num_changed = allowed.size + sum(tokens.size for tokens in forbidden)
    if num_changed > _FEW_CHANGED or (mask.words is not None and mask.words.size > _FEW_CHANGED):
        out = mask.packed()
        for tokens in forbidden:
            forbid(out, tokens)
        allow(out, allowed)
        return difference(out, mask.base)
    base, by_word = mask.base, dict[int, int]()
    if mask.words is not None and mask.values is not None:
        by_word.update(zip(mask.words.tolist(), mask.values.tolist(), strict=True))
    for token in (token for tokens in forbidden for token in tokens.tolist()):
        by_word[token >> 5] = by_word.get(token >> 5, base.item(token >> 5)) & ~(1 << (token & 31))
    for token in allowed.tolist():
        by_word[token >> 5] = by_word.get(token >> 5, base.item(token >> 5)) | 1 << (token & 31)
    return Mask(base, *_columns(by_word), None) if by_word else mask


def _columns(by_word: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Words and their values; of these the low 32 bits count."""
    values = np.array([value & 0xFFFFFFFF for value in by_word.values()], dtype=np.uint32)
    return np.array(list(by_word), dtype=np.intp), values.view(np.int32)


def allow(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens in a packed mask."""
    np.bitwise_or.at(packed, tokens >> 5, np.left_shift(1, tokens & 31, dtype=np.int32))


def forbid(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens no more."""
    np.bitwise_and.at(packed, tokens >> 5, ~np.left_shift(1, tokens & 31, dtype=np.int32))
