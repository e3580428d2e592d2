"""From token ids to text as they come, in whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence


class Detokenizer:
    """Text of a growing run of tokens. `token_bytes[id]` is a token's bytes, None for one that is no text.

    A character whose bytes are not all there yet is held back; bytes that are no UTF-8 become U+FFFD.
    """

    __slots__ = ("_decoder", "_is_open", "_token_bytes")

    def __init__(self, token_bytes: Sequence[bytes | None]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_open = False  # whether a character is held back

    def feed_one(self, token_id: int) -> str:
        """As `feed`, of one token."""
        if not self._is_open and token_id < len(self._token_bytes):
            data = self._token_bytes[token_id]
            if data is None:
                return ""
            if data.isascii():
                return data.decode("ascii")
        return self.feed((token_id,))

    def feed(self, token_ids: Iterable[int]) -> str:
        """The text that became complete. An id without bytes, or past the table, adds none."""
        known = self._token_bytes
        parts = [known[token_id] or b"" for token_id in token_ids if token_id < len(known)]
        data = b"".join(parts)
        if not self._is_open and data.isascii():  # nearly always, and ten times as fast
            return data.decode("ascii")
        text = self._decoder.decode(data)
        self._is_open = bool(self._decoder.getstate()[0])
        return text

    def flush(self) -> str:
        """What was held back, an unfinished character as U+FFFD."""
        return self._decoder.decode(b"", final=True)
