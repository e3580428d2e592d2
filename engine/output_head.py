"""From hidden states to logits: of the whole vocabulary, or only of the tokens that a row's grammar allows.

Legend: R rows, H hidden features, V vocabulary, E tokens wanted in all. Packed weights give the same bits either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.model import CausalLM
from espalier.kernels.sparse_head import sparse_head

Few = NDArray[np.int32]

MOST_SPARSE = 1 / 32
"""Of the vocabulary: with more tokens a whole row is faster (examples/bench/kernels/sparse_head.py)."""
LEAST_SAVED = {"cpu": 8e6, "cuda": 32e6}
"""Products that must be saved to make up for another call."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows of a step and their logits [len(rows), V]; of sparse ones only the allowed tokens' are meant."""

    rows: list[int]
    logits: Tensor


def sparse_rows(few: Sequence[Few | None], vocab: int, hidden: int, device: str) -> list[int]:
    """The rows whose logits are computed only where they are wanted, if that pays. None has no list of tokens.

    A CPU saves products row by row; a GPU reads the head's weights once for all rows, so that only all of them together
    save anything.
    """
    rows = [row for row, tokens in enumerate(few) if tokens is not None and len(tokens) <= MOST_SPARSE * vocab]
    if device == "cuda" and len(rows) < len(few):
        return []
    return rows if _saves_enough(len(rows), vocab, hidden, device) else []


def _saves_enough(num_rows: int, vocab: int, hidden: int, device: str) -> bool:
    """Whether it pays if so many rows are sparse, as far as their number says it."""
    return vocab * hidden * (1 if device == "cuda" else num_rows) >= LEAST_SAVED[device]


class OutputHead:
    """Keeps room for sparse rows from step to step. Counts the rows that were sparse."""

    def __init__(self, model: CausalLM, device: str) -> None:
        self._model, self._device = model, device
        self._vocab, self._hidden = model.config.vocab_size, model.config.hidden_size
        self._room = torch.zeros(0, self._vocab, device=device)
        self.num_sparse = 0

    def whole(self, hidden_rh: Tensor) -> Tensor:
        """The logits [R, V] of all tokens."""
        return self._model.head(hidden_rh)

    @property
    def is_all_or_none(self) -> bool:
        """Whether one row that needs all logits makes all rows whole."""
        return self._device == "cuda"

    def may_pay(self, num_rows: int) -> bool:
        """Whether it would pay if all of so many rows were sparse: if not, nobody has to ask which are."""
        return _saves_enough(num_rows, self._vocab, self._hidden, self._device)

    def pays(self, few: Sequence[Few | None]) -> list[int]:
        """The rows that `groups` would compute sparsely."""
        return sparse_rows(few, self._vocab, self._hidden, self._device)

    def groups(self, hidden_rh: Tensor, few: Sequence[Few | None], sparse: list[int]) -> list[Group]:
        """All rows, those of `sparse` apart."""
        is_sparse = set(sparse)
        whole = [row for row in range(len(few)) if row not in is_sparse]
        found = [Group(sparse, self._sparse(hidden_rh[sparse], [few[row] for row in sparse]))] if sparse else []
        if whole:
            found.append(Group(whole, self.whole(hidden_rh[whole])))
        return found

    def _sparse(self, hidden_rh: Tensor, few: list[Few | None]) -> Tensor:
        tokens = [np.empty(0, dtype=np.int32) if one is None else one for one in few]
        start = np.zeros(len(tokens) + 1, dtype=np.int32)
        np.cumsum([len(one) for one in tokens], out=start[1:])
        token_e = torch.from_numpy(np.concatenate(tokens)).to(self._device)
        logits_e = sparse_head(hidden_rh, self._model.weights.head, torch.from_numpy(start).to(self._device), token_e)
        row_e = torch.from_numpy(np.repeat(np.arange(len(tokens)), np.diff(start))).to(self._device)
        if len(self._room) < len(tokens):
            self._room = torch.zeros(len(tokens), self._vocab, device=self._device)
        room_rv = self._room[: len(tokens)]
        room_rv[row_e, token_e.long()] = logits_e
        self.num_sparse += len(tokens)
        return room_rv
