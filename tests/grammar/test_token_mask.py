"""Packed masks against sets of token ids."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from espalier.grammar.token_mask import Mask, changed, difference, few, unpacked

NUM_WORDS = 40
NOTHING = np.zeros(NUM_WORDS, dtype=np.int32)


def packed(tokens: set[int]) -> np.ndarray:
    flags = np.zeros(NUM_WORDS * 32, dtype=np.uint8)
    flags[list(tokens)] = 1
    return np.packbits(flags, bitorder="little").view(np.int32)


def some(source: Random, most: int) -> set[int]:
    """Tokens, those at the ends of words among them more often than others."""
    size = source.randint(0, most)
    return {
        source.choice((source.randrange(NUM_WORDS * 32), 32 * source.randrange(NUM_WORDS) + 31)) for _ in range(size)
    }


def allowed(mask: Mask) -> set[int]:
    return set(unpacked(mask.packed()).tolist())


@pytest.mark.parametrize("seed", range(100))
def test_a_changed_mask_forbids_and_then_allows(seed: int) -> None:
    source = Random(seed)
    base, first = some(source, 600), some(source, source.choice((5, 300)))
    mask = difference(packed(base ^ first), packed(base))
    gone = [some(source, source.choice((3, 80))) for _ in range(source.randint(0, 3))]
    more = some(source, source.choice((3, 80)))
    before = allowed(mask)
    result = changed(
        mask, [np.array(sorted(part), dtype=np.int32) for part in gone], np.array(sorted(more), dtype=np.int32)
    )
    assert allowed(result) == (before - set().union(*gone)) | more
    assert allowed(mask) == before == base ^ first


@pytest.mark.parametrize("seed", range(20))
def test_few_tokens_are_a_mask_and_a_list(seed: int) -> None:
    tokens = sorted(some(Random(seed), 60))
    mask = few(NOTHING, tokens)
    listed = mask.few()
    assert listed is not None and listed.tolist() == tokens
    assert allowed(mask) == set(tokens)
