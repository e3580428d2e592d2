"""Text of tokens as they come: whole characters only, the same text whatever the pieces."""

from __future__ import annotations

from espalier.engine.detokenize import Detokenizer

BYTES: list[bytes | None] = [bytes([value]) for value in range(256)] + [None]


def test_a_character_comes_when_its_last_byte_does() -> None:
    detokenizer = Detokenizer(BYTES)
    parts = [detokenizer.feed((byte,)) for byte in "é🌳".encode()]
    assert parts == ["", "é", "", "", "", "🌳"]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    detokenizer = Detokenizer(BYTES)
    assert detokenizer.feed((0xFF, ord("a"))) == "\ufffda"
    assert detokenizer.feed((0xE2, 0x82)) == ""
    assert detokenizer.flush() == "\ufffd"


def test_tokens_without_bytes_and_unknown_ids_add_nothing() -> None:
    assert Detokenizer(BYTES).feed((256, 9999, ord("x"))) == "x"
