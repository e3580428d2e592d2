"""Draws the next token of each row of logits by its request's parameters.

Legend: R rows, V vocabulary. The number behind a draw is a function of the request's seed and the token's position
alone, so that a request repeats whatever shares its batch, and through preemption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espalier.engine.messages import TokenLogprob, TopLogprob
from espalier.engine.sequence import Sequence
from espalier.kernels.sampling import Settings, draw, greedy, log_probabilities, uniform


@dataclass(frozen=True, slots=True)
class Drawn:
    """One row's result; `is_valid` is false where the logits were no numbers."""

    token_id: int
    is_valid: bool = True
    logprob: TokenLogprob | None = None


class Sampler:
    """`end_token_ids` are the model's own ends, which min_tokens keeps away."""

    def __init__(self, end_token_ids: tuple[int, ...]) -> None:
        self._end_token_ids = list(end_token_ids)

    def sample(self, logits_rv: Tensor, sequences: list[Sequence]) -> list[Drawn]:
        """A token for each row; `logits_rv` float32 is overwritten."""
        raw, best = greedy(logits_rv)
        is_valid = torch.isfinite(best).tolist()
        wanted = [
            row for row, sequence in enumerate(sequences) if sequence.params.logprobs is not None and is_valid[row]
        ]
        kept = logits_rv[wanted].clone() if wanted else logits_rv
        adjusted = [
            row for row, sequence in enumerate(sequences) if is_valid[row] and self._adjust(logits_rv[row], sequence)
        ]
        if adjusted:
            raw[adjusted] = greedy(logits_rv[adjusted])[0]
        drawn_rows = [
            row for row, sequence in enumerate(sequences) if sequence.params.temperature > 0 and is_valid[row]
        ]
        if drawn_rows:
            chosen = [sequences[row] for row in drawn_rows]
            rows = logits_rv if len(chosen) == len(sequences) else logits_rv[drawn_rows]
            raw[drawn_rows] = draw(rows, self._settings(chosen, logits_rv.device))
        logprobs = self._logprobs(kept, raw, wanted, sequences) if wanted else {}
        return [
            Drawn(token_id, valid, logprobs.get(row))
            for row, (token_id, valid) in enumerate(zip(raw.tolist(), is_valid, strict=True))
        ]

    def _adjust(self, row_v: Tensor, sequence: Sequence) -> bool:
        """Apply penalties, bias and min_tokens in place; returns whether there was anything to apply."""
        params, changed = sequence.params, False
        if params.repetition_penalty != 1:
            seen = torch.from_numpy(np.unique(sequence.ids(0, sequence.length)).astype(np.int64)).to(row_v.device)
            scores = row_v[seen]
            row_v[seen] = torch.where(
                scores > 0, scores / params.repetition_penalty, scores * params.repetition_penalty
            )
            changed = True
        if params.presence_penalty or params.frequency_penalty:
            # Those in the answer only, as OpenAI defines both.
            said, counts = np.unique(sequence.ids(sequence.prompt_len, sequence.length), return_counts=True)
            penalty = params.presence_penalty + params.frequency_penalty * counts
            row_v[torch.from_numpy(said.astype(np.int64)).to(row_v.device)] -= torch.from_numpy(penalty).to(row_v)
            changed = True
        if params.logit_bias:
            ids = torch.tensor([token_id for token_id, _ in params.logit_bias], device=row_v.device)
            row_v.index_add_(0, ids, torch.tensor([bias for _, bias in params.logit_bias]).to(row_v))
            changed = True
        if sequence.num_generated < params.min_tokens:
            banned = [*self._end_token_ids, *params.stop_token_ids]
            if banned:
                row_v[banned] = float("-inf")
                changed = True
        return changed

    def _settings(self, sequences: list[Sequence], device: torch.device) -> Settings:
        params = [sequence.params for sequence in sequences]
        seeds = np.array([sequence.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_generated for sequence in sequences], dtype=np.uint64)
        return Settings(
            temperature=torch.tensor([p.temperature for p in params], dtype=torch.float32, device=device),
            top_k=torch.tensor([p.top_k for p in params], dtype=torch.int64, device=device),
            top_p=torch.tensor([p.top_p for p in params], dtype=torch.float32, device=device),
            min_p=torch.tensor([p.min_p for p in params], dtype=torch.float32, device=device),
            uniform=torch.from_numpy(uniform(seeds, positions)).to(device),
        )

    def _logprobs(
        self, kept: Tensor, token_r: Tensor, wanted: list[int], sequences: list[Sequence]
    ) -> dict[int, TokenLogprob]:
        count = max(sequences[row].params.logprobs or 0 for row in wanted)
        drawn, tokens, values = (x.tolist() for x in log_probabilities(kept, token_r[wanted], count))
        found: dict[int, TokenLogprob] = {}
        for at, row in enumerate(wanted):
            number = sequences[row].params.logprobs or 0
            pairs = zip(tokens[at][:number], values[at][:number], strict=True)
            top = tuple(TopLogprob(token_id, logprob) for token_id, logprob in pairs)
            found[row] = TokenLogprob(int(token_r[row]), drawn[at], top)
        return found
