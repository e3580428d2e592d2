"""A sampler that draws as always and then says what it was taught: teacher forcing, for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.sequence import Sequence
from espalier.engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Lesson:
    """A text, and the tokens that the tokenizer writes for it."""

    text: bytes
    token_ids: tuple[int, ...]


class TaughtSampler(Sampler):
    """Says each request's lesson. Without a mask, token by token; with one, the lesson's next token where one begins
    and is allowed, else the longest allowed token of its text; at its end the end token.
    """

    def __init__(self, end_token_ids: tuple[int, ...], tokenizer: Tokenizer, lessons: Mapping[str, Lesson]) -> None:
        super().__init__(end_token_ids)
        self._tokenizer, self._lessons = tokenizer, lessons
        self._sizes = [len(data or b"") for data in tokenizer.token_bytes]
        self._token_at = {name: self._places(lesson) for name, lesson in lessons.items()}
        # Of each request: its length when it was last asked, and the bytes of its answer then.
        self._progress: dict[str, tuple[int, int]] = {}

    def sample(
        self,
        logits_rv: Tensor,
        sequences: list[Sequence],
        masks: NDArray[np.int32] | None = None,
        is_masked: NDArray[np.bool_] | None = None,
        *,
        attempt: int = 0,
    ) -> list[Drawn]:
        """As `Sampler.sample`, with other tokens."""
        # Before anything is drawn, which waits for the device: what the teacher takes is no part of what is measured.
        said = self.teach(sequences, masks, is_masked)
        drawn = super().sample(logits_rv, sequences, masks, is_masked, attempt=attempt)
        return [Drawn(token_id, *one[1:]) for one, token_id in zip(drawn, said, strict=True)]

    def teach(
        self, sequences: list[Sequence], masks: NDArray[np.int32] | None, is_masked: NDArray[np.bool_] | None
    ) -> list[int]:
        """What each request says next; masks as in `sample`."""
        free = None if is_masked is None else (~is_masked).tolist()
        return [
            self._said(sequence, None if masks is None or (free is not None and free[row]) else masks[row])
            for row, sequence in enumerate(sequences)
        ]

    def forget(self) -> None:
        """All lessons begin anew."""
        self._progress.clear()

    def _places(self, lesson: Lesson) -> dict[int, int]:
        """The token that begins at a byte."""
        ends = accumulate(map(self._sizes.__getitem__, lesson.token_ids))
        return dict(zip((0, *ends), lesson.token_ids, strict=False))

    def _said(self, sequence: Sequence, mask: NDArray[np.int32] | None) -> int:
        lesson = self._lessons[sequence.request_id]
        if mask is None:
            return lesson.token_ids[sequence.num_generated]
        length, place = self._progress.get(sequence.request_id, (sequence.prompt_len, 0))
        place += sum(map(self._sizes.__getitem__, sequence.ids(length, sequence.length).tolist()))
        self._progress[sequence.request_id] = sequence.length, place
        if place >= len(lesson.text):
            return self._tokenizer.end_token_ids[0]
        token = self._token_at[sequence.request_id].get(place, -1)
        return token if token >= 0 and _allows(mask, token) else self._longest(lesson.text[place:], mask)

    def _longest(self, text: bytes, mask: NDArray[np.int32]) -> int:
        trie, node, found = self._tokenizer.vocabulary.trie, 0, -1
        for byte in text:
            node = trie.children(node).get(byte, -1)
            if node < 0:
                break
            found = next((token for token in trie.at(node).tolist() if _allows(mask, token)), found)
        return found


def _allows(mask: NDArray[np.int32], token: int) -> bool:
    return bool(mask.item(token >> 5) >> (token & 31) & 1)
