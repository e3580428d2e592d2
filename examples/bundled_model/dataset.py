"""Batches of dialogues for training, made by processes ahead of their use.

A row is one dialogue, from position 0, so that none sees another; rows of like length are batched together. A chunk of
batches is a function of (seed, number), whoever makes it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Empty
from random import Random
from time import sleep
from typing import Any

import numpy as np
from dialogues import make_dialogue, tool_calls
from numpy.typing import NDArray
from rendering import render, written_mask
from tokenizers import Tokenizer

PROMPT_EVERY, PROMPT_WEIGHT = 8, 0.3
"""What the model reads counts at every eighth token (the others need no logits); what it writes has weight 1."""
ROUND = 64
"""Rows are padded to a multiple of this."""
LEAST_KEPT, MOST_KEPT = 64, 512
"""A batch comes again after so many others at the earliest, and as long as it is among so many last ones."""

Row = tuple[NDArray[np.uint16], NDArray[np.float16]]
"""Token ids [T] and the loss weight of each; that of the first is not used."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What chunks are like: their size, the longest row, and how many of the first have drills among them."""

    chunk_tokens: int = 2_097_152
    batch_tokens: int = 65_536
    row_len: int = 1280
    drill_chunks: int = 30
    drills: float = 0.2
    """Share of rows that are random tokens, said again and again: they teach to copy within a few hundred steps."""
    long_every: int = 12
    """Every so many chunks the dialogues are long, and rows twice as long."""
    few_tools: float = 0.0
    """Share of dialogues that are calls of at most three tools: they take less reading for as much writing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side: ids [B, T+1], and of the flat [B*T] next tokens those that count, with their weights."""

    token_ids: NDArray[np.int32]
    wanted: NDArray[np.int32]
    weights: NDArray[np.float32]


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


class RowMaker:
    """Makes rows with a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()
        self._start, self._end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
        self._head = tokenizer.encode("<|im_start|>assistant\n").ids

    def row(self, text: str, row_len: int) -> Row:
        """A dialogue as a row, cut at its end."""
        ids = np.array(self._tokenizer.encode(text).ids[: row_len + 1], dtype=np.uint16)
        weights = np.where(np.arange(len(ids)) % PROMPT_EVERY == 0, PROMPT_WEIGHT, 0.0)
        weights[written_mask(ids, self._start, self._end, self._head)] = 1.0
        return ids, weights.astype(np.float16)

    def rows(self, seed: int, number: int, recipe: Recipe) -> list[Row]:
        """The rows of chunk `number`."""
        rng = Random(f"{seed}:{number}")
        is_long = number % recipe.long_every == recipe.long_every - 1
        row_len = recipe.row_len * (2 if is_long else 1)
        rows: list[Row] = []
        total = 0
        while total < recipe.chunk_tokens:
            if number < recipe.drill_chunks and rng.random() < recipe.drills:
                rows.append(drill_row(rng, min(384, row_len), self.vocab_size))
            else:
                if rng.random() < recipe.few_tools:
                    dialogue = tool_calls(rng, False, most_tools=3)
                else:
                    dialogue = make_dialogue(rng, episodes=rng.choice((2, 3, 5, 8)) if is_long else 1)
                rows.append(self.row(render(dialogue), row_len))
            total += len(rows[-1][0])
        return rows

    def chunk(self, seed: int, number: int, recipe: Recipe) -> list[Batch]:
        """The batches of chunk `number`, in an order that mixes short rows with long ones."""
        rows = sorted(self.rows(seed, number, recipe), key=lambda row: len(row[0]), reverse=True)
        batches, at = [], 0
        while at < len(rows):
            width = _rounded(len(rows[at][0]) - 1)
            together = rows[at : at + max(2, recipe.batch_tokens // width)]
            at += len(together)
            if len(together) > 1:
                batches.append(_batch(together, width))
        # Neighbours in time are far apart in length: steps take several batches, and see all lengths.
        order = list(range(len(batches)))
        half = (len(order) + 1) // 2
        mixed = [at for pair in zip(order[:half], [*order[half:], None], strict=False) for at in pair if at is not None]
        return [batches[at] for at in mixed]


def _rounded(width: int) -> int:
    return -(-width // ROUND) * ROUND


def _batch(rows: list[Row], width: int) -> Batch:
    ids = np.zeros((len(rows), width + 1), dtype=np.int32)
    weights = np.zeros((len(rows), width), dtype=np.float32)
    for at, (row, weight) in enumerate(rows):
        ids[at, : len(row)] = row
        weights[at, : len(row) - 1] = weight[1:]
    wanted = np.flatnonzero(weights).astype(np.int32)
    return Batch(ids, wanted, weights.reshape(-1)[wanted])


def chunks(tokenizer_file: Path, seed: int, recipe: Recipe, first: int = 0, stride: int = 1) -> Iterator[list[Batch]]:
    """Every `stride`th chunk from number `first` on."""
    maker = RowMaker(Tokenizer.from_file(str(tokenizer_file)))
    for number in count(first, stride):
        yield maker.chunk(seed, number, recipe)


def _work(tokenizer_file: Path, seed: int, recipe: Recipe, first: int, stride: int, queue: Any) -> None:
    os.nice(5)
    for chunk in chunks(tokenizer_file, seed, recipe, first, stride):
        for batch in chunk:
            queue.put((batch.token_ids, batch.wanted, batch.weights))


@contextmanager
def batch_source(
    tokenizer_file: Path, seed: int, recipe: Recipe, workers: int, again: int = 0
) -> Iterator[Iterator[Batch]]:
    """An endless stream of batches from so many processes, which end with the context; 0 makes them in this one.

    Processes take turns, so the order is that of the seed. When the next has nothing ready, any other's batch comes;
    when none has, one from some way back comes again, each at most `again` times, so that nobody waits for data.
    """
    if not workers:
        yield (batch for chunk in chunks(tokenizer_file, seed, recipe) for batch in chunk)
        return
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    context = multiprocessing.get_context("fork")
    queues = [context.Queue(maxsize=24) for _ in range(workers)]
    makers = [
        context.Process(target=_work, args=(tokenizer_file, seed, recipe, at, workers, queue), daemon=True)
        for at, queue in enumerate(queues)
    ]
    for maker in makers:
        maker.start()
    try:
        yield in_turn(queues, again)
    finally:
        for maker in makers:
            maker.terminate()


def in_turn(queues: list[Any], again: int) -> Iterator[Batch]:
    """What the queues hold, in turn; where they hold nothing, what has been shown comes again."""
    shown: deque[tuple[Batch, int]] = deque(maxlen=MOST_KEPT)
    while True:
        found = False
        for queue in queues:
            try:
                batch = Batch(*queue.get_nowait())
            except Empty:
                continue
            found = True
            shown.append((batch, again))
            yield batch
        if found:
            continue
        while shown and not shown[0][1]:
            shown.popleft()
        if len(shown) < LEAST_KEPT:
            sleep(0.001)
            continue
        batch, left = shown.popleft()
        shown.append((batch, left - 1))
        yield batch
