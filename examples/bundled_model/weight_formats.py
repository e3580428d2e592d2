"""What int8 weights cost: perplexity of the engine's own model on held-out dialogues, float32 against int8.

python examples/bundled_model/weight_formats.py --dialogues 100
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from dialogues import TASKS
from evaluate import Score, held_out, score
from rendering import BUNDLED
from tokenizers import Tokenizer
from torch import Tensor

from espalier.engine import EngineOptions
from espalier.engine.batch import Batch
from espalier.engine.loader import load
from espalier.engine.options import WeightFormat


def engine_logits(checkpoint: Path, weights: WeightFormat) -> Callable[[Tensor], Tensor]:
    """A function from token ids [T] to the engine's logits [T, V] of each next token."""
    loaded = load(EngineOptions(model=str(checkpoint), weights=weights, kv_memory_bytes=64 * 2**20))

    def logits(token_ids: Tensor) -> Tensor:
        every = torch.arange(len(token_ids))
        batch = Batch(
            token_ids=token_ids,
            positions=every,
            query_start=torch.tensor([0, len(token_ids)], dtype=torch.int32),
            context_len=torch.tensor([len(token_ids)], dtype=torch.int32),
            rows=torch.zeros(1, dtype=torch.int32),
            slot_table=every.int().unsqueeze(0).contiguous(),
            out_slots=every,
            logit_rows=every,
        )
        return loaded.model.forward(batch, loaded.kv)

    return logits


def perplexities(checkpoint: Path, weights: WeightFormat, dialogues: int) -> Score:
    """The score on `dialogues` held-out dialogues of each task."""
    total, logits = Score(), engine_logits(checkpoint, weights)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    for task in TASKS:
        for text in held_out(task, dialogues):
            total.add(score(logits, tokenizer, text))
    return total


def main() -> None:
    """Print both perplexities and what int8 costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--dialogues", type=int, default=100, help="of each task")
    given = parser.parse_args()
    plain, packed = (perplexities(given.checkpoint, weights, given.dialogues) for weights in ("float32", "int8"))
    for name, score_ in (("float32", plain), ("int8", packed)):
        print(f"{name:8} perplexity {score_.perplexity:.5f}, of answers {score_.answer_perplexity:.5f}")
    cost = packed.perplexity / plain.perplexity - 1
    answer_cost = packed.answer_perplexity / plain.answer_perplexity - 1
    print(f"int8 costs {cost:+.4%} of perplexity, of answers {answer_cost:+.4%}")


if __name__ == "__main__":
    main()
