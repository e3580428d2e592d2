"""Rows of tokens for training, made ahead by seed: whole dialogues end to end, in order, cut at the row's end.

A row is a function of (seed, row index, row length), so that training resumes anywhere with the same data.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from random import Random

import numpy as np
from dialogues import make_dialogue
from numpy.typing import NDArray
from rendering import BUNDLED, answer_mask, render
from tokenizers import Tokenizer

PROMPT_EVERY, PROMPT_WEIGHT = 4, 0.4
"""What the model reads counts at every fourth token (the others need no logits); what it writes has weight 1."""


Row = tuple[NDArray[np.uint16], NDArray[np.float16]]
"""Token ids [row_len + 1] and the loss weight of each."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the rows of a stretch of training are like."""

    row_len: int
    drills: float
    """Share of rows that are random tokens, said again and again: they teach to copy within a few hundred steps."""


def drill_row(rng: Random, row_len: int, vocab_size: int) -> Row:
    """Runs of random tokens that come back after some noise; only what comes back counts."""
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) <= row_len:
        run = [rng.randrange(vocab_size) for _ in range(rng.randint(3, 24))]
        for turn in range(rng.randint(2, 4)):
            noise = [rng.randrange(vocab_size) for _ in range(rng.randint(0, 12))]
            ids += noise + run
            weights += [0.0] * (len(noise) + 1) + [1.0 if turn else 0.0] * (len(run) - 1)
    return np.array(ids[: row_len + 1], dtype=np.uint16), np.array(weights[: row_len + 1], dtype=np.float16)


def make_row(seed: int, index: int, phase: Phase, tokenizer: Tokenizer) -> Row:
    """Row number `index` of a phase."""
    rng = Random(f"{seed}:{phase.row_len}:{index}")
    if rng.random() < phase.drills:
        return drill_row(rng, phase.row_len, tokenizer.get_vocab_size())
    ids: list[int] = []
    while len(ids) <= phase.row_len:
        episodes = 1 if phase.row_len <= 1024 else rng.choice((1, 2, 4, 8))
        ids += tokenizer.encode(render(make_dialogue(rng, episodes=episodes))).ids
    row = np.array(ids[: phase.row_len + 1], dtype=np.uint16)
    weight = np.where(np.arange(len(row)) % PROMPT_EVERY == 0, PROMPT_WEIGHT, 0.0)
    weight[answer_mask(row, tokenizer)] = 1.0
    return row, weight.astype(np.float16)


def _make_rows(seed: int, first: int, num_rows: int, phase: Phase) -> Row:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    rows = [make_row(seed, index, phase, tokenizer) for index in range(first, first + num_rows)]
    return np.stack([row for row, _ in rows]), np.stack([weight for _, weight in rows])


def batches(seed: int, first_batch: int, batch_rows: int, phase: Phase, ahead: int = 4) -> Iterator[Row]:
    """Batches [batch_rows, row_len + 1] from number `first_batch` on, made by one process `ahead` of their use."""
    with ProcessPoolExecutor(1) as pool:
        firsts = count(first_batch * batch_rows, batch_rows)
        pending = [pool.submit(_make_rows, seed, next(firsts), batch_rows, phase) for _ in range(ahead)]
        while True:
            yield pending.pop(0).result()
            pending.append(pool.submit(_make_rows, seed, next(firsts), batch_rows, phase))
