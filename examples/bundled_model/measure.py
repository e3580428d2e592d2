"""How often the model says exactly what it should, by one pass over whole dialogues: fast enough to look on.

Each answer is judged as greedy decoding would give it, without a grammar; `evaluate_calls.py` measures what users get.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from dialogue import Dialogue
from network import Network
from numpy.typing import NDArray
from rendering import render, written_mask
from scenarios import MEASURED
from tokenizers import Tokenizer
from wordstock import Source

MEASURES = ("trained patterns", "unseen patterns")
"""Words are unseen in both."""


@dataclass(frozen=True, slots=True)
class Exam:
    """A dialogue as tokens, and what each stretch that the model has to write shows."""

    token_ids: NDArray[np.int64]
    spans: tuple[tuple[slice, str], ...]


def make_exam(dialogue: Dialogue, tokenizer: Tokenizer) -> Exam:
    """A dialogue as an exam; assistant messages without a kind are not judged."""
    ids = np.array(tokenizer.encode(render(dialogue)).ids)
    head = tokenizer.encode("<|im_start|>assistant\n").ids
    mask = written_mask(ids, tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>"), head)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))).reshape(-1, 2)
    kinds = [message.get("kind", "") for message in dialogue.messages if message["role"] == "assistant"]
    spans = tuple((slice(a, b), kind) for (a, b), kind in zip(edges.tolist(), kinds, strict=True) if kind)
    return Exam(ids, spans)


def make_exams(tokenizer_file: Path, each: int, seed: int = 0) -> dict[str, list[Exam]]:
    """`each` dialogues of each kind, for each measure."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    exams: dict[str, list[Exam]] = {}
    for measure in MEASURES:
        source = Source(Random(f"exam:{measure}:{seed}"), True, measure == MEASURES[1], is_spaced=True)
        exams[measure] = [make_exam(make(source), tokenizer) for make in MEASURED.values() for _ in range(each)]
    return exams


@torch.inference_mode()
def marks(network: Network, exams: list[Exam], device: str, precision: torch.dtype, rows: int = 32) -> dict[str, float]:
    """Share of exact answers by kind."""
    right: dict[str, list[bool]] = defaultdict(list)
    ordered = sorted(exams, key=lambda exam: len(exam.token_ids))
    for at in range(0, len(ordered), rows):
        together = ordered[at : at + rows]
        width = max(len(exam.token_ids) for exam in together)
        ids = np.zeros((len(together), width), dtype=np.int64)
        for row, exam in enumerate(together):
            ids[row, : len(exam.token_ids)] = exam.token_ids
        with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
            best = network(torch.from_numpy(ids).to(device)).argmax(-1).cpu().numpy()
        for row, exam in enumerate(together):
            for span, kind in exam.spans:
                right[kind].append(bool((best[row, span.start - 1 : span.stop - 1] == ids[row, span]).all()))
    return {kind: float(np.mean(hits)) for kind, hits in sorted(right.items())}
