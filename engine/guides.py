"""From a request's constraint to its guide: compiled, or found where it was compiled before. Imports no torch."""

from __future__ import annotations

from contextlib import suppress

from espalier.engine.atlas import Atlas
from espalier.engine.canonical import Canonical
from espalier.engine.errors import RequestError
from espalier.engine.guide import Guide
from espalier.engine.messages import Generate
from espalier.engine.options import EngineOptions
from espalier.engine.tokenizer import Tokenizer
from espalier.engine.workshop import Pause, Preparation
from espalier.grammar import Grammar, GrammarError, Limits
from espalier.grammar.cache import GrammarCache, Shares

ATLAS_SHARE = 1 / 2
"""Of the memory for grammars, so much more may lie in atlases, with the grammars that they hold on to."""


class Guides:
    """Keeps compiled grammars, what is known of their places, and what forced text comes to in tokens."""

    def __init__(self, tokenizer: Tokenizer, options: EngineOptions) -> None:
        self._tokenizer, self._jump_forward = tokenizer, options.jump_forward
        self._limits = Limits() if options.mask_cache else Limits(mask_bytes=0)
        self._grammars = GrammarCache(options.grammar_memory_bytes)
        self._atlases = Shares[Atlas](
            int(ATLAS_SHARE * options.grammar_memory_bytes), lambda atlas: atlas.num_bytes + atlas.grammar.num_bytes
        )
        self._canonical = Canonical(tokenizer)

    def preparation(self, request: Generate) -> Preparation | None:
        """What takes long of `of`, to be done before it in short turns; None if nothing does."""
        constraint, ends = request.params.constraint, self._tokenizer.end_token_ids
        if constraint is None or not ends:
            return None
        asked = (request.tenant, constraint, self._tokenizer.vocabulary, ends, self._limits)
        if self._grammars.knows(*asked):
            return None

        def compile_it(pause: Pause) -> None:
            with suppress(GrammarError):  # which `of` will find remembered
                self._grammars.get(*asked, pause=pause)

        return compile_it

    def of(self, request: Generate, room: int) -> Guide | None:
        """What keeps an answer of at most `room` tokens within the request's constraint; None without one.

        Raises RequestError where there is no such answer, or the constraint is none.
        """
        params, ends = request.params, self._tokenizer.end_token_ids
        if params.constraint is None:
            return None
        if params.ignore_eos:
            raise RequestError(
                "ignore_eos goes with no constraint: its answer ends where it is complete", param="ignore_eos"
            )
        if not ends:
            raise RequestError("the checkpoint names no end token, which constrained answers need", param="constraint")
        try:
            grammar = self._grammars.get(
                request.tenant, params.constraint, self._tokenizer.vocabulary, ends, self._limits
            )
        except GrammarError as error:
            raise RequestError(f"{type(error).__name__}: {error}", param="constraint") from error
        # Nobody computes what a forced token's probability would have been.
        can_jump = self._jump_forward and params.logprobs is None
        guide = Guide(grammar, self._canonical if can_jump else None, self._atlas(request.tenant, grammar))
        if guide.closing_cost > room:
            raise RequestError(
                f"a short answer that the constraint allows takes {guide.closing_cost} tokens; {room} are left for it",
                param="max_tokens",
            )
        return guide

    def measure(self, guide: Guide | None) -> None:
        """Count what was found out for a request that is over: much more than what compiling it took."""
        if guide is not None:
            self._atlases.measure(guide.atlas)
            self._grammars.grammars.measure(guide.atlas.grammar)

    def _atlas(self, tenant: str, grammar: Grammar) -> Atlas:
        found = self._atlases.get(tenant, grammar)
        if found is not None:
            return found.value
        atlas = Atlas(grammar)
        self._atlases.put(tenant, grammar, atlas)
        return atlas
