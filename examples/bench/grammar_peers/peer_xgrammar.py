"""xgrammar: peer_xgrammar.py WORKLOAD FIRST-CASE [keep]. Not strict (which would forbid what a schema allows); it keeps
compiled schemas by its own cache."""

from __future__ import annotations

import os

import beside  # noqa: F401 -- makes the next import possible
import numpy as np
import xgrammar
from mask_run import Tokens, main


class Answer:
    """One matcher."""

    def __init__(self, matcher: xgrammar.GrammarMatcher, mask: np.ndarray) -> None:
        self._matcher, self._mask = matcher, mask

    def fill(self) -> None:
        """See `Request`."""
        self._is_free = not self._matcher.fill_next_token_bitmask(self._mask)

    def allows(self, token: int) -> bool:
        """See `Request`."""
        return self._is_free or bool(self._mask[0, token // 32] >> (token % 32) & 1)

    def accept(self, token: int) -> None:
        """See `Request`."""
        self._matcher.accept_token(token)


class XGrammar:
    """The vocabulary and the compiler."""

    def __init__(self, tokens: Tokens, end: int) -> None:
        named = [b"<special-%d>" % token if text is None else text for token, text in enumerate(tokens)]
        vocabulary = xgrammar.TokenizerInfo(named, xgrammar.VocabType.RAW, stop_token_ids=[end])
        self._compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=os.cpu_count() or 1)
        self._mask = np.zeros((1, (len(tokens) + 31) // 32), dtype=np.int32)

    def request(self, schema: str) -> Answer:
        """See `Engine`."""
        compiled = self._compiler.compile_json_schema(schema, strict_mode=False)
        return Answer(xgrammar.GrammarMatcher(compiled), self._mask)


main(XGrammar)
