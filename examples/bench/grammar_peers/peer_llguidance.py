"""llguidance: peer_llguidance.py WORKLOAD FIRST-CASE [keep]. Its JSON slices; it shares nothing between requests."""

from __future__ import annotations

import beside  # noqa: F401 -- makes the next import possible
import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from mask_run import Tokens, main


class Answer:
    """One matcher."""

    def __init__(self, matcher: LLMatcher, mask: np.ndarray) -> None:
        self._matcher, self._mask = matcher, mask

    def fill(self) -> None:
        """See `Request`."""
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._matcher.is_error():  # the mask then allows the end alone
            raise ValueError(self._matcher.get_error()[:300])

    def allows(self, token: int) -> bool:
        """See `Request`."""
        return bool(self._mask[token // 32] >> (token % 32) & 1)

    def accept(self, token: int) -> None:
        """See `Request`."""
        self._matcher.consume_token(token)


class Source:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokens: Tokens, end: int) -> None:
        self.tokens = [b"\xff<%d>" % token if text is None else text for token, text in enumerate(tokens)]
        self.special_token_ids = [token for token, text in enumerate(tokens) if text is None]
        self.eos_token_id, self.bos_token_id = end, None
        self._ids = {text: token for token, text in enumerate(tokens) if text}
        self._longest = max(map(len, self._ids))

    def __call__(self, text: bytes | str) -> list[int]:
        """The longest tokens that fit: asked for where text is forced."""
        spelled = text.encode() if isinstance(text, str) else text
        found, at = list[int](), 0
        while at < len(spelled):
            ends = range(min(len(spelled), at + self._longest), at, -1)
            end = next(end for end in ends if spelled[at:end] in self._ids)
            found.append(self._ids[spelled[at:end]])
            at = end
        return found


class LlGuidance:
    """The tokenizer with its slices."""

    def __init__(self, tokens: Tokens, end: int) -> None:
        wrapped = TokenizerWrapper(Source(tokens, end))
        self._tokenizer = LLTokenizer(wrapped, slices=LLTokenizer.json_slices())
        self._mask = np.zeros((len(tokens) + 31) // 32, dtype=np.int32)

    def request(self, schema: str) -> Answer:
        """See `Engine`."""
        matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_json_schema(schema), log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return Answer(matcher, self._mask)


main(LlGuidance)
