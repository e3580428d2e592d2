"""Log-probabilities as clients read them: tokens spelled out, infinities written as OpenAI writes them."""

from __future__ import annotations

from collections.abc import Iterable

from espalier.engine.messages import TokenLogprob
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.wire.answers import ContentLogprob, TopLogprob, finite


def spelled(tokenizer: Tokenizer, entries: Iterable[TokenLogprob]) -> list[ContentLogprob]:
    """Each drawn token with its text, its bytes and its alternatives."""
    spell = tokenizer.spelling
    return [
        ContentLogprob(
            *spell(entry.token_id, finite(entry.logprob)),
            [TopLogprob(*spell(top.token_id, finite(top.logprob))) for top in entry.top],
        )
        for entry in entries
    ]
