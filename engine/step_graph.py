"""The model's pass over few tokens, recorded once for each number of tokens: on a GPU one launch instead of hundreds.

Legend: T tokens of a step, N tokens of a recording, H hidden features. Every token is a sequence of its own to
attention: it reads the slots of its row up to its position. Keys are written before they are read, layer by layer, so
the tokens of one request may stand in one step. What is left of a recording computes a token that nobody asked for, in
a row of the table and a slot of the pool that are kept for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.batch import Batch
from espalier.engine.kv_pool import KVPool
from espalier.engine.model import CausalLM, DenseMlp

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Tokens of the recordings; a step takes the smallest that holds it."""

Replay = Callable[[], Tensor]
Record = Callable[[Callable[[], Tensor]], Replay]
"""Takes a computation over fixed memory, and returns what repeats it."""


def can_record(model: CausalLM) -> bool:
    """Whether nothing in the model waits for the device: experts are chosen on the host."""
    return all(isinstance(layer.mlp, DenseMlp) for layer in model.weights.layers)


class CudaRecorder:
    """Records CUDA graphs, which share their working memory: only one runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Tensor]) -> Replay:
        """Record `run`, which has to compute the same from the same memory each time."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # Twice: the first one compiles kernels, and libraries take the memory that they keep.
            run()
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


@dataclass(frozen=True, slots=True)
class _Recording:
    """One number of tokens: what the host writes, where the device reads it, and what runs then."""

    staging: Tensor
    inputs: Tensor
    replay: Replay
    was_copied: torch.cuda.Event | None


class StepGraphs:
    """Recordings over one model, one pool and one slot table on the device, whose last row is the one to spare."""

    def __init__(self, model: CausalLM, kv: KVPool, slot_table: Tensor, record: Record, sizes: tuple[int, ...]) -> None:
        self._model, self._kv, self._table = model, kv, slot_table
        device = slot_table.device
        self._starts = torch.arange(sizes[-1] + 1, dtype=torch.int32, device=device)
        self._index = torch.arange(sizes[-1], device=device)
        self._spare = torch.tensor([0, 0, len(slot_table) - 1, kv.spare_slot], dtype=torch.int32).unsqueeze(1)
        # The largest first: its working memory then holds that of all others.
        self._recordings = {size: self._record(size, record) for size in reversed(sizes)}
        self._sizes = sizes

    def holds(self, num_tokens: int) -> bool:
        """Whether there is a recording for so many tokens."""
        return num_tokens <= self._sizes[-1]

    def hidden(self, tokens_4t: NDArray[np.int32]) -> Tensor:
        """Hidden states [T, H] behind the final norm, valid until the next call.

        The rows of `tokens_4t` are the tokens' ids, their positions, their rows of the slot table and their slots,
        which are noted in the table; what lies before them is there.
        """
        num_tokens = tokens_4t.shape[1]
        size = next(size for size in self._sizes if size >= num_tokens)
        recording = self._recordings[size]
        if recording.was_copied is not None:
            # Or the host would write over what the copy of the last step has yet to read.
            recording.was_copied.synchronize()
        recording.staging[:, :num_tokens] = torch.from_numpy(tokens_4t)
        recording.staging[:, num_tokens:] = self._spare
        recording.inputs.copy_(recording.staging, non_blocking=True)
        if recording.was_copied is not None:
            recording.was_copied.record()
        return recording.replay()[:num_tokens]

    def _record(self, size: int, record: Record) -> _Recording:
        on_gpu = self._table.device.type == "cuda"
        staging = self._spare.repeat(1, size)
        inputs = staging.to(self._table.device)
        if on_gpu:
            staging = staging.pin_memory()
        replay = record(lambda: self._run(inputs))
        return _Recording(staging, inputs, replay, torch.cuda.Event() if on_gpu else None)

    @torch.inference_mode()
    def _run(self, inputs_4n: Tensor) -> Tensor:
        token_ids, positions, rows, slots = inputs_4n
        size = len(rows)
        self._table[rows.long(), positions.long()] = slots
        batch = Batch(
            token_ids=token_ids.long(),
            positions=positions.long(),
            query_start=self._starts[: size + 1],
            context_len=positions + 1,
            rows=rows,
            slot_table=self._table,
            out_slots=slots.long(),
            logit_rows=self._index[:size],
        )
        return self._model.hidden(batch, self._kv)
