"""Measures a checkpoint on held-out dialogues: perplexity, and the share of answers that are right, by task.

    python examples/bundled_model/evaluate.py --checkpoint engine/bundled --dialogues 100
    python examples/bundled_model/evaluate.py --write held_out.jsonl

The dialogues take names, towns and phrasings that training never shows. An answer is right when greedy decoding gives
exactly its tokens, which one pass over the whole dialogue shows: every token of it is the most probable one.
`score` takes any function from token ids to logits, so that another engine (or int8 weights) is measured alike.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from dialogues import TASKS, make_dialogue
from export import load_checkpoint
from numpy.typing import NDArray
from rendering import BUNDLED, answer_mask, render
from tokenizers import Tokenizer
from torch import Tensor

Logits = Callable[[Tensor], Tensor]
"""From token ids [T] to the logits [T, V] of each next token."""


@dataclass(slots=True)
class Score:
    """Sums over dialogues."""

    answers: int = 0
    right: int = 0
    tokens: int = 0
    loss: float = 0.0
    answer_tokens: int = 0
    answer_loss: float = 0.0

    def add(self, other: Score) -> None:
        """Count another score in."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def accuracy(self) -> float:
        """Share of answers with every token right."""
        return self.right / self.answers

    @property
    def perplexity(self) -> float:
        """Of all tokens, also those that nobody could foresee."""
        return math.exp(self.loss / self.tokens)

    @property
    def answer_perplexity(self) -> float:
        """Of the tokens that the model writes."""
        return math.exp(self.answer_loss / self.answer_tokens)


def held_out(task: str, count: int, seed: int = 0) -> Iterator[str]:
    """Dialogues of a task as text, never seen in training."""
    rng = Random(f"held out:{task}:{seed}")
    for _ in range(count):
        yield render(make_dialogue(rng, task, held_out=True))


def _answers(mask: NDArray[np.bool_]) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        yield slice(start, stop)


def score(logits: Logits, tokenizer: Tokenizer, text: str) -> Score:
    """The score of one dialogue."""
    ids = np.array(tokenizer.encode(text).ids)
    mask, targets = answer_mask(ids, tokenizer)[1:], torch.from_numpy(ids[1:])
    predicted = logits(torch.from_numpy(ids[:-1])).float()
    losses = F.cross_entropy(predicted, targets, reduction="none")
    hits = (predicted.argmax(-1) == targets).numpy()
    answers = list(_answers(mask))
    return Score(
        answers=len(answers),
        right=sum(bool(hits[answer].all()) for answer in answers),
        tokens=len(losses),
        loss=float(losses.sum()),
        answer_tokens=int(mask.sum()),
        answer_loss=float(losses[torch.from_numpy(mask)].sum()),
    )


def _line(name: str, part: Score) -> str:
    return f"{name:16} {part.accuracy:6.1%} of {part.answers} answers right, perplexity {part.answer_perplexity:.4f}"


def main() -> None:
    """Parse the command line; measure, or write the held-out text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--dialogues", type=int, default=100, help="of each task")
    parser.add_argument("--write", type=Path, help="write the dialogues there as JSON lines (task, text), and stop")
    given = parser.parse_args()
    if given.write:
        lines = [{"task": task, "text": text} for task in TASKS for text in held_out(task, given.dialogues)]
        given.write.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return
    network = load_checkpoint(given.checkpoint)
    tokenizer = Tokenizer.from_file(str(given.checkpoint / "tokenizer.json"))
    total = Score()
    with torch.inference_mode():
        for task in TASKS:
            part = Score()
            for text in held_out(task, given.dialogues):
                part.add(score(lambda ids: network(ids[None])[0], tokenizer, text))
            total.add(part)
            print(_line(task, part))
    print(_line("all", total))
    print(f"perplexity of all tokens, the users' words included: {total.perplexity:.4f}")


if __name__ == "__main__":
    main()
