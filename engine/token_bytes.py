"""What each token of a vocabulary means as bytes, by the decoder that tokenizer.json names. Imports no torch.

Two families: byte-level vocabularies spell bytes in GPT-2's alphabet; SentencePiece's are text with `▁` for a space and
`<0xAB>` for a byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from espalier.engine.errors import UnsupportedModelError

Spelling = Callable[[str], bytes]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# Parts of a decoder that only touch a text's borders.
_IDLE = ("Fuse", "Strip")


def token_spelling(spec: dict[str, Any]) -> Spelling:
    """From a token's spelling to its bytes, as tokenizer.json says. Raises UnsupportedModelError."""
    # Without a decoder, the way in says the way out.
    parts = list(_parts(spec.get("decoder"))) or [
        part for part in _parts(spec.get("pre_tokenizer")) if part.get("type") in ("ByteLevel", "Metaspace")
    ]
    kinds = [str(part.get("type")) for part in parts]
    if "ByteLevel" in kinds:
        return _byte_level
    replaced = tuple(_replacement(part) for part in parts if part.get("type") in ("Replace", "Metaspace"))
    known = {*_IDLE, "ByteFallback", "Replace", "Metaspace"}
    if not parts or not set(kinds) <= known or None in replaced:
        raise UnsupportedModelError(
            f"tokenizer.json has the decoder {kinds}; byte-level and SentencePiece ones are implemented"
        )
    pairs = tuple(pair for pair in replaced if pair is not None)
    return partial(_sentencepiece, pairs, "ByteFallback" in kinds)


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """All parts of a decoder or pre-tokenizer, sequences unfolded."""
    if not isinstance(node, dict):
        return
    children = node.get("decoders") or node.get("pretokenizers")
    if node.get("type") != "Sequence":
        yield node
    for child in children or ():
        yield from _parts(child)


def _replacement(part: dict[str, Any]) -> tuple[str, str] | None:
    """What is replaced by what; None for a regular expression."""
    if part.get("type") == "Metaspace":
        return part.get("replacement", "▁"), " "
    pattern = part.get("pattern")
    text = pattern.get("String") if isinstance(pattern, dict) else None
    return None if text is None else (text, part.get("content", ""))


@cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


def _byte_level(token: str) -> bytes:
    alphabet = byte_alphabet()
    if all(letter in alphabet for letter in token):
        return bytes(alphabet[letter] for letter in token)
    return token.encode()


def _sentencepiece(replaced: tuple[tuple[str, str], ...], byte_fallback: bool, token: str) -> bytes:
    if byte_fallback and (match := _BYTE_TOKEN.fullmatch(token)):
        return bytes([int(match[1], 16)])
    for old, new in replaced:
        token = token.replace(old, new)
    return token.encode()
