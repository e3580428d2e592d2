"""The tokenizer of a checkpoint, and the bytes of each of its tokens. Imports no torch.

Text from users is encoded *plain*: what it spells of special tokens stays text. Only what a chat template writes is
parsed for special tokens (see `chat_template`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Encoder

from espalier.engine.checkpoint import read_json
from espalier.engine.errors import CheckpointError, UnsupportedModelError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


class Tokenizer:
    """Encodes and decodes; safe to use from several threads.

    `token_bytes[id]` is what a token means as bytes, None for special tokens and gaps. `end_token_ids` end an answer.
    """

    def __init__(
        self, spec: dict[str, Any], *, end_token_ids: tuple[int, ...] = (), bos_token: str | None = None
    ) -> None:
        self._encoder = _encoder(spec)
        # Without added tokens nothing that a text spells becomes one.
        self._plain = _encoder(spec | {"added_tokens": []})
        self.end_token_ids, self.bos_token = end_token_ids, bos_token
        self.added_tokens: dict[str, int] = {token["content"]: token["id"] for token in spec.get("added_tokens", [])}
        self.special_ids = frozenset(token["id"] for token in spec.get("added_tokens", []) if token.get("special"))
        self.vocab_size = max(self._encoder.get_vocab().values(), default=-1) + 1
        self.token_bytes = self._bytes(spec)
        self._all_bytes = list(self.token_bytes)
        for content, token_id in self.added_tokens.items():
            self._all_bytes[token_id] = content.encode()

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read tokenizer.json and what the checkpoint says of end tokens. Raises CheckpointError."""
        spec = read_json(folder / "tokenizer.json")
        try:
            tokenizer = cls(spec)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"tokenizer.json can't be read: {error}") from error
        config = _optional(folder / "tokenizer_config.json")
        tokenizer.bos_token = _content(config.get("bos_token"))
        tokenizer.end_token_ids = tuple(_ends(folder, tokenizer, config))
        return tokenizer

    def encode(self, text: str, *, add_special_tokens: bool = False, parse_special: bool = False) -> list[int]:
        """Token ids; `parse_special` reads the special tokens that the text spells, `add_special_tokens` frames it."""
        encoder = self._encoder if parse_special else self._plain
        ids: list[int] = encoder.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, token_ids: list[int], *, skip_special: bool = True) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD."""
        known = self.text_bytes(skip_special=skip_special)
        return b"".join(known[i] or b"" for i in token_ids if 0 <= i < len(known)).decode("utf-8", "replace")

    def text_bytes(self, *, skip_special: bool) -> list[bytes | None]:
        """Bytes of each token as text; special tokens have none, or their spelling."""
        return self.token_bytes if skip_special else self._all_bytes

    def token_text(self, token_id: int) -> str:
        """A token on its own, for people."""
        data = self._all_bytes[token_id] if token_id < len(self._all_bytes) else None
        return (data or b"").decode("utf-8", "replace")

    def spelling(self, token_id: int, logprob: float) -> tuple[str, float, list[int]]:
        """A token's text, the log-probability passed through, and its bytes: as APIs list them."""
        data = (self._all_bytes[token_id] if token_id < len(self._all_bytes) else None) or b""
        return data.decode("utf-8", "replace"), logprob, list(data)

    def _bytes(self, spec: dict[str, Any]) -> list[bytes | None]:
        to_bytes = _spelling(spec)
        table: list[bytes | None] = [None] * self.vocab_size
        for token, token_id in self._encoder.get_vocab().items():
            if token_id in self.special_ids:
                continue
            table[token_id] = token.encode() if token in self.added_tokens else to_bytes(token)
        return table


def _encoder(spec: dict[str, Any]) -> Encoder:
    try:
        encoder = Encoder.from_str(json.dumps(spec))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"tokenizer.json can't be read: {error}") from error
    encoder.no_padding()
    encoder.no_truncation()
    return encoder


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """All parts of a decoder or pre-tokenizer, sequences unfolded."""
    if isinstance(node, dict):
        yield node
        for child in [*node.get("decoders", ()), *node.get("pretokenizers", ())]:
            yield from _parts(child)


def _spelling(spec: dict[str, Any]) -> Any:
    """How this vocabulary spells bytes: GPT-2's alphabet of bytes, or SentencePiece's."""
    decoders = {part.get("type") for part in _parts(spec.get("decoder"))}
    if "ByteLevel" in decoders:
        return _byte_level
    if decoders & {"ByteFallback", "Metaspace", "Replace"}:
        return _sentencepiece
    raise UnsupportedModelError(
        f"tokenizer.json has the decoder {sorted(map(str, decoders))}; byte-level and SentencePiece ones work"
    )


@cache
def _alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


def _byte_level(token: str) -> bytes:
    alphabet = _alphabet()
    if all(letter in alphabet for letter in token):
        return bytes(alphabet[letter] for letter in token)
    return token.encode()


def _sentencepiece(token: str) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(_SPACE, " ").encode()


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _content(token: Any) -> str | None:
    """A special token's text, however the file writes it."""
    return token.get("content") if isinstance(token, dict) else token


def _ends(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> list[int]:
    """End tokens by generation_config.json, config.json and the tokenizer's own, without repeats."""
    found: list[int] = []
    for file in ("generation_config.json", "config.json"):
        value = _optional(folder / file).get("eos_token_id")
        found += value if isinstance(value, list) else [] if value is None else [value]
    named = _content(config.get("eos_token"))
    if named is not None and (token_id := tokenizer.added_tokens.get(named)) is not None:
        found.append(token_id)
    return list(dict.fromkeys(found))
