"""Rows of tokens for training, made ahead by seed: whole dialogues end to end, in order, cut at the row's end.

A row is a function of (seed, row index, row length), so that training resumes anywhere with the same data.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from random import Random

import numpy as np
from dialogues import make_dialogue
from numpy.typing import NDArray
from rendering import BUNDLED, answer_mask, render
from tokenizers import Tokenizer

PROMPT_WEIGHT = 0.1
"""Weight of the loss on what the model reads; 1 on what it writes."""


def make_row(
    seed: int, index: int, row_len: int, tokenizer: Tokenizer
) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """Token ids [row_len + 1] and the loss weight of each."""
    rng = Random(f"{seed}:{row_len}:{index}")
    ids: list[int] = []
    while len(ids) <= row_len:
        episodes = 1 if row_len <= 1024 else rng.choice((1, 2, 4, 8))
        ids += tokenizer.encode(render(make_dialogue(rng, episodes=episodes))).ids
    row = np.array(ids[: row_len + 1], dtype=np.uint16)
    weight = np.where(answer_mask(row, tokenizer), 1.0, PROMPT_WEIGHT).astype(np.float16)
    return row, weight


def _make_rows(seed: int, first: int, count: int, row_len: int) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    rows = [make_row(seed, index, row_len, tokenizer) for index in range(first, first + count)]
    return np.stack([row for row, _ in rows]), np.stack([weight for _, weight in rows])


def batches(
    seed: int, first_batch: int, batch_rows: int, row_len: int, ahead: int = 4
) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.float16]]]:
    """Batches [batch_rows, row_len + 1] from number `first_batch` on, made by one process `ahead` of their use."""
    with ProcessPoolExecutor(1) as pool:
        pending = [
            pool.submit(_make_rows, seed, (first_batch + i) * batch_rows, batch_rows, row_len) for i in range(ahead)
        ]
        number = first_batch + ahead
        while True:
            yield pending.pop(0).result()
            pending.append(pool.submit(_make_rows, seed, number * batch_rows, batch_rows, row_len))
            number += 1
