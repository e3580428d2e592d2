"""A request on its way through the engine: its tokens, how many are computed, and what it holds. Imports no torch.

Legend of its positions: [0, shared_len) lie in slots of the prefix tree, [shared_len, num_slots) in slots of its own;
[0, num_computed) have their keys and values; [prompt_len, length) were generated. When a token was drawn last,
[0, drawn_len) was computed: behind it lie that token and those that a grammar forced after it. `drafts` are guesses of
those that come behind `length`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Row

import numpy as np
from numpy.typing import NDArray

from espalier.engine.guide import Draft, Guide
from espalier.engine.messages import Generate, MissCause, Missed
from espalier.engine.tier import Tier
from espalier.radix import Node, Root

NO_DRAFTS: tuple[Draft, ...] = ()
UNDRAWN = 2**62
"""`drawn_len` before the first token is drawn."""


class Sequence:
    """State of one request. `max_len` is the longest it may become, `row` its row of the slot table while it runs."""

    __slots__ = (
        "arrival",
        "arrived_s",
        "blocked_at",
        "cached_tokens",
        "drafts",
        "drawn_len",
        "evicted_tokens",
        "first_admitted_s",
        "first_token_s",
        "guide",
        "has_looked_down",
        "inserted_len",
        "lacked",
        "length",
        "loaded_from",
        "loaded_tokens",
        "long_at",
        "max_len",
        "missed_cause",
        "node",
        "num_computed",
        "num_slots",
        "params",
        "preemptions",
        "prompt_len",
        "request",
        "request_id",
        "row",
        "seed",
        "shared_len",
        "tokens",
        "written_tokens",
    )

    def __init__(
        self,
        request: Generate,
        *,
        max_len: int,
        seed: int,
        arrival: int,
        now_s: float,
        guide: Guide | None = None,
    ) -> None:
        self.guide = guide
        self.request_id = request.request_id
        self.request, self.params, self.seed, self.max_len = request, request.params, seed, max_len
        self.prompt_len = self.length = len(request.token_ids)
        self.tokens: NDArray[np.int32] = np.empty(min(max_len, self.prompt_len + 64), dtype=np.int32)
        self.tokens[: self.prompt_len] = request.token_ids
        self.arrival, self.arrived_s = arrival, now_s
        self.first_admitted_s = self.first_token_s = -1.0
        self.cached_tokens, self.evicted_tokens = -1, 0
        self.missed_cause: MissCause = "new"
        self.loaded_from: Tier | None = None
        self.loaded_tokens = self.written_tokens = 0
        self.has_looked_down = False
        self.blocked_at, self.lacked = -math.inf, 0
        self.long_at = -math.inf
        self.preemptions = 0
        self.row = -1
        self.node: Node | None = None
        self.drawn_len = UNDRAWN
        self.drafts = NO_DRAFTS
        self.num_computed = self.num_slots = self.shared_len = self.inserted_len = 0

    @property
    def root(self) -> Root:
        """The key of its root in the prefix tree."""
        return Root(self.request.tenant, self.request.cache_salt)

    @property
    def num_generated(self) -> int:
        """Tokens generated so far."""
        return self.length - self.prompt_len

    @property
    def known_len(self) -> int:
        """Tokens at its beginning that were in the tree when it was admitted, or had been before they were evicted."""
        return max(self.cached_tokens, 0) + self.evicted_tokens

    @property
    def is_decoding(self) -> bool:
        """Whether all is computed but the token that was drawn last and what was forced after it."""
        return self.num_computed >= self.drawn_len

    def missed(self) -> Missed | None:
        """Where its prompt was not found any more; None if it was whole but for its last token, or never looked for."""
        if not 0 <= self.cached_tokens < self.prompt_len - 1:
            return None
        cause = "evicted" if self.missed_cause == "new" and self.evicted_tokens else self.missed_cause
        return Missed(self.cached_tokens, cause, self.evicted_tokens)

    def ids(self, begin: int, end: int) -> NDArray[np.int32]:
        """A view of the tokens [begin, end); drafts lie behind the last."""
        return self.tokens[begin:end]

    def append(self, token_id: int, *, is_drawn: bool = True) -> None:
        """Add a generated token: one that was drawn from the logits, or one that a grammar forced; drafts are gone."""
        self.drafts = NO_DRAFTS
        if is_drawn:
            self.drawn_len = self.length
        if self.length == len(self.tokens):
            self._reserve(self.length + 1)
        self.tokens[self.length] = token_id
        self.length += 1

    def draft(self, drafts: Row[Draft]) -> None:
        """Note which tokens probably come next, in place of those noted before; they are not the sequence's own."""
        self.drafts = tuple(drafts)
        if drafts:
            self._reserve(self.length + len(drafts))
            self.tokens[self.length : self.length + len(drafts)] = [one.token for one in drafts]

    def _reserve(self, count: int) -> None:
        if count > len(self.tokens):
            room = np.empty(max(count - len(self.tokens), len(self.tokens)), dtype=np.int32)
            self.tokens = np.concatenate((self.tokens, room))
