"""Our side of `espalier bench grammar`: mask_ours WORKLOAD FIRST-CASE [keep]. Grammars are shared by the cache."""

from __future__ import annotations

import numpy as np

from espalier.engine.collector import settle_collector
from espalier.gateway.bench.mask_run import Tokens, main
from espalier.grammar import Cursor, Json, Vocabulary, warm
from espalier.grammar.cache import GrammarCache


class Answer:
    """One cursor."""

    def __init__(self, cursor: Cursor, mask: np.ndarray) -> None:
        self._cursor, self._mask = cursor, mask

    def fill(self) -> None:
        """See `Request`."""
        self._cursor.fill(self._mask)

    def allows(self, token: int) -> bool:
        """See `Request`."""
        return bool(self._mask[token // 32] >> (token % 32) & 1)

    def accept(self, token: int) -> None:
        """See `Request`."""
        self._cursor.accept(token)


class Ours:
    """The vocabulary with its slices, and the cache."""

    def __init__(self, tokens: Tokens, end: int) -> None:
        self._vocabulary, self._end, self._cache = Vocabulary(tokens), end, GrammarCache()
        self._mask = self._vocabulary.empty_mask()
        warm(self._vocabulary)
        settle_collector()  # as the engine's process does

    def request(self, schema: str) -> Answer:
        """See `Engine`."""
        grammar = self._cache.get("bench", Json(schema), self._vocabulary, [self._end])
        return Answer(grammar.start(), self._mask)


if __name__ == "__main__":
    main(Ours)
