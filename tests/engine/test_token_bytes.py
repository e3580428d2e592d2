"""How vocabularies spell bytes, by the decoder of tokenizer.json."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.engine.errors import UnsupportedModelError
from espalier.engine.token_bytes import byte_alphabet, token_spelling

REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
BYTE_LEVEL = {"type": "ByteLevel"}
METASPACE = {"type": "Metaspace", "replacement": "_"}


def test_the_alphabet_has_a_letter_for_each_byte() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert byte_alphabet()["Ġ"] == ord(" ") and byte_alphabet()["Ċ"] == ord("\n") and byte_alphabet()["a"] == ord("a")


@pytest.mark.parametrize(
    ("spec", "token", "data"),
    [
        ({"decoder": BYTE_LEVEL}, "Ġhi", b" hi"),
        ({"decoder": BYTE_LEVEL}, "Ã©", "é".encode()),
        ({"decoder": BYTE_LEVEL}, "北", "北".encode()),
        ({"decoder": {"type": "Sequence", "decoders": [BYTE_LEVEL]}}, "Ċ", b"\n"),
        ({"decoder": {"type": "Sequence", "decoders": [REPLACE, {"type": "ByteFallback"}]}}, "<0xE5>", b"\xe5"),
        ({"decoder": {"type": "Sequence", "decoders": [REPLACE, {"type": "Fuse"}]}}, "<0xE5>", b"<0xE5>"),
        ({"decoder": {"type": "Sequence", "decoders": [REPLACE, {"type": "Strip"}]}}, "▁a▁", b" a "),
        ({"decoder": METASPACE}, "_a▁", " a▁".encode()),
        ({"decoder": None, "pre_tokenizer": BYTE_LEVEL}, "Ġ", b" "),
        ({"decoder": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [METASPACE]}}, "_", b" "),
    ],
)
def test_a_token_means_the_bytes_that_its_decoder_makes(spec: dict[str, Any], token: str, data: bytes) -> None:
    assert token_spelling(spec)(token) == data


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"decoder": None},
        {"decoder": {"type": "WordPiece"}},
        {"decoder": {"type": "Sequence", "decoders": [REPLACE, {"type": "CTC"}]}},
        {"decoder": {"type": "Replace", "pattern": {"Regex": "x+"}, "content": ""}},
    ],
)
def test_other_decoders_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match="decoder"):
        token_spelling(spec)
