"""Encoding and decoding against the tokenizers library and transformers; markers in users' text stay text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder

from espalier.engine.errors import CheckpointError, UnsupportedModelError
from espalier.engine.hub import BUNDLED_FOLDER
from espalier.engine.tokenizer import Tokenizer
from espalier.grammar import Json, compile_grammar

Spec = dict[str, Any]
MARKERS = ("<|end|>", "<|start|>", "<think>", "</think>")
TEXTS = [
    "",
    "Hello, world",
    "  two  spaces\n\n\ttabs ",
    "naïve café 北京 👩‍👩‍👧 \u200b",
    "a < b > c [d] | <| |>",
    "\x00\x7f",
    "𝔘𝔫𝔦",
]


def token(token_id: int, content: str, **flags: bool) -> Spec:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **plain, **flags}


def sentencepiece(*, legacy: bool = False) -> Spec:
    """As Llama 2's: BPE over text with a sign for spaces, bytes as a last resort, special tokens in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyz<>/[]|", "he", "ll", "hell", "▁w", "or", "<s", "▁▁"]
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["▁", "w"], ["o", "r"], ["<", "s"], ["<s", ">"], ["▁", "▁"]]
    prepend = [{"type": "Prepend", "prepend": "▁"}] if legacy else []
    return {
        "version": "1.0",
        "added_tokens": [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>"), token(999, "[INST]")],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*prepend, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {piece: at for at, piece in enumerate(pieces)},
            "merges": merges,
        },
    }


def unigram() -> Spec:
    """As T5's or XLM's: the special tokens are pieces of the model, and the likeliest ones."""
    pieces = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["▁the", -3.0]]
    pieces += [[letter, -5.0] for letter in "abcdefghijklmnopqrstuvwxyz<>/"]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    return {
        "version": "1.0",
        "added_tokens": [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")],
        "normalizer": None,
        "pre_tokenizer": metaspace,
        "post_processor": None,
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
    }


@pytest.fixture
def specs(byte_level: Callable[..., Spec]) -> dict[str, Spec]:
    return {
        "byte level": byte_level(("Hello", " world", "end", "北京"), MARKERS),
        "sentencepiece": sentencepiece(),
        "legacy sentencepiece": sentencepiece(legacy=True),
        "unigram": unigram(),
    }


KINDS = ["byte level", "sentencepiece", "legacy sentencepiece", "unigram"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_spell_no_marker_are_encoded_as_the_library_does(kind: str, specs: dict[str, Spec]) -> None:
    tokenizer, library = Tokenizer(specs[kind]), Encoder.from_str(json.dumps(specs[kind]))
    for text in TEXTS:
        for framed in (False, True):
            assert (
                tokenizer.encode(text, add_special_tokens=framed) == library.encode(text, add_special_tokens=framed).ids
            )


@pytest.mark.parametrize("kind", KINDS)
def test_meant_markers_are_encoded_as_the_library_does(kind: str, specs: dict[str, Spec]) -> None:
    tokenizer, library = Tokenizer(specs[kind]), Encoder.from_str(json.dumps(specs[kind]))
    markers, generator = list(tokenizer.markers.aliases), random.Random(1)
    for _ in range(50):
        text = "".join(generator.choice([*markers, "hell", " ", "wor", "<", "\n"]) for _ in range(8))
        assert tokenizer.encode(text, parse_special=True) == library.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_users_text_never_makes_a_marker(kind: str, specs: dict[str, Spec]) -> None:
    tokenizer = Tokenizer(specs[kind])
    markers = list(tokenizer.markers.aliases)
    forbidden = {tokenizer.added_tokens[marker] for marker in markers} - {tokenizer.added_tokens.get("<unk>")}
    assert forbidden
    aliases = list(tokenizer.markers.aliases.values())
    generator = random.Random(2)
    for _ in range(200):
        parts = [
            *markers,
            *aliases,
            *(m[: len(m) // 2] for m in markers),
            *(m[len(m) // 2 :] for m in markers),
            " ",
            "x",
        ]
        text = "".join(generator.choice(parts) for _ in range(6))
        assert not forbidden & set(tokenizer.encode(text))
        allowed = set(tokenizer.encode("", add_special_tokens=True))
        assert not forbidden - allowed & set(tokenizer.encode(text, add_special_tokens=True)[len(allowed) :])


@given(st.text())
def test_plain_text_comes_back_from_the_bundled_tokenizer(text: str) -> None:
    tokenizer = bundled()
    kept = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not any(ord(letter) >= 0x10FF00 for letter in kept):
        assert tokenizer.decode(tokenizer.encode(text)) == kept


def bundled(cache: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006
    if not cache:
        cache.append(Tokenizer.load(BUNDLED_FOLDER))
    return cache[0]


@given(st.lists(st.integers(0, 3071), max_size=30))
def test_decoding_is_joining_the_bytes_of_tokens(token_ids: list[int]) -> None:
    tokenizer = bundled()
    for skip in (True, False):
        known = tokenizer.text_bytes(skip_special=skip)
        joined = b"".join(known[token_id] or b"" for token_id in token_ids)
        assert tokenizer.decode(token_ids, skip_special=skip) == joined.decode("utf-8", "replace")


@given(st.lists(st.integers(10, 3071), max_size=30))
def test_decoding_agrees_with_the_library(token_ids: list[int]) -> None:
    library = Encoder.from_file(str(BUNDLED_FOLDER / "tokenizer.json"))
    assert bundled().decode(token_ids) == library.decode(token_ids)


def test_bytes_of_byte_level_tokens_are_exact(byte_level: Callable[..., Spec]) -> None:
    tokenizer = Tokenizer(byte_level(("é",), ("<|end|>",)))
    assert tokenizer.token_bytes == [*(bytes([byte]) for byte in range(256)), "é".encode(), None]
    assert tokenizer.text_bytes(skip_special=False)[-1] == b"<|end|>"


def test_bytes_of_sentencepiece_tokens_are_exact() -> None:
    tokenizer = Tokenizer(sentencepiece())
    vocab = sentencepiece()["model"]["vocab"]
    assert tokenizer.token_bytes[:3] == [None, None, None]
    assert [tokenizer.token_bytes[vocab[f"<0x{byte:02X}>"]] for byte in range(256)] == [bytes([b]) for b in range(256)]
    assert tokenizer.token_bytes[vocab["▁w"]] == b" w"
    assert tokenizer.decode(tokenizer.encode("hell world é")) == "hell world é"


def test_added_words_stay_vocabulary(byte_level: Callable[..., Spec]) -> None:
    spec = byte_level((), ("<|end|>",))
    spec["added_tokens"] += [token(257, "    ", special=False), token(258, "<tool>", special=False)]
    tokenizer = Tokenizer(spec)
    assert tokenizer.encode("a    b") == [97, 257, 98]
    assert tokenizer.encode("<tool>", parse_special=True) == [258]
    assert 258 not in tokenizer.encode("<tool>")
    assert tokenizer.token_bytes[257:] == [b"    ", b"<tool>"]
    assert tokenizer.special_ids == {256}


def test_markers_that_eat_spaces_still_do(byte_level: Callable[..., Spec]) -> None:
    spec = byte_level()
    spec["added_tokens"] = [token(256, "<|end|>", lstrip=True, rstrip=True)]
    library = Encoder.from_str(json.dumps(spec))
    assert Tokenizer(spec).encode("a  <|end|>  b", parse_special=True) == library.encode("a  <|end|>  b").ids


def test_what_is_no_unicode_becomes_a_replacement(byte_level: Callable[..., Spec]) -> None:
    tokenizer = Tokenizer(byte_level())
    assert tokenizer.decode(tokenizer.encode("a\ud800b\udfff")) == "a\ufffdb\ufffd"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00")) == "😀"
    assert tokenizer.decode(tokenizer.encode("\U0010fffe")) == "\ufffd"


def test_ids_outside_the_vocabulary_decode_to_nothing() -> None:
    assert bundled().decode([10**9, -1]) == ""
    assert bundled().token_text(10**9) == "" == bundled().token_text(-1)
    assert bundled().spelling(10**9, -1.0) == ("", -1.0, [])


def test_long_runs_are_encoded_in_reasonable_work() -> None:
    # Quadratic merging would take minutes.
    for text in ("a" * 100_000, "." * 300_000, "<|im_end|>" * 20_000, " " * 100_000):
        assert bundled().decode(bundled().encode(text)) == text


def test_threads_may_share_a_tokenizer() -> None:
    texts = [f"{number} <|im_end|> " * 50 for number in range(40)]
    alone = [(bundled().encode(text), bundled().encode(text, parse_special=True)) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        shared = list(
            pool.map(lambda text: (bundled().encode(text), bundled().encode(text, parse_special=True)), texts)
        )
    assert shared == alone


def test_end_and_named_tokens_come_from_all_files(
    tmp_path: Path, byte_level: Callable[..., Spec], write_tokenizer: Callable[..., Path]
) -> None:
    folder = write_tokenizer(
        tmp_path, byte_level((), MARKERS), eos_token={"content": "<|end|>"}, bos_token="<|start|>", pad_token=None
    )
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 256]}')
    (folder / "config.json").write_text('{"eos_token_id": 9}')
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.end_token_ids == (7, 256, 9)
    assert tokenizer.named_tokens == {"eos_token": "<|end|>", "bos_token": "<|start|>"}
    assert tokenizer.bos_token == "<|start|>"


def test_tokens_that_only_the_tokenizer_config_has_are_added(
    tmp_path: Path, byte_level: Callable[..., Spec], write_tokenizer: Callable[..., Path]
) -> None:
    further = {"257": token(257, "<|call|>"), "256": token(256, "<|end|>")}
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, byte_level(), added_tokens_decoder=further))
    assert tokenizer.encode("<|call|>", parse_special=True) == [257]
    assert tokenizer.special_ids == {256, 257}


def test_a_named_token_is_special_even_if_its_entry_does_not_say_so(
    tmp_path: Path, byte_level: Callable[..., Spec], write_tokenizer: Callable[..., Path]
) -> None:
    spec = byte_level()
    spec["added_tokens"] = [token(256, "EOT", special=False)]
    tokenizer = Tokenizer.load(write_tokenizer(tmp_path, spec, eos_token="EOT"))
    assert tokenizer.special_ids == {256} and 256 not in tokenizer.encode("EOT")
    assert tokenizer.end_token_ids == (256,)


def test_an_end_token_is_no_text_even_if_nothing_says_that_it_is_special(
    tmp_path: Path, byte_level: Callable[..., Spec], write_tokenizer: Callable[..., Path]
) -> None:
    spec = byte_level()
    spec["added_tokens"] = [token(256, "EOT", special=False)]
    folder = write_tokenizer(tmp_path, spec)
    (folder / "generation_config.json").write_text('{"eos_token_id": [256]}')
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.token_bytes[256] is None
    # Or a mask would allow it within a string, and an answer would end there.
    cursor = compile_grammar(Json({"type": "string"}), tokenizer.vocabulary, tokenizer.end_token_ids).start()
    cursor.accept_bytes(b'"E')
    assert not cursor.allowed().mask[256 >> 5] & 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "can't be read"),
        ("[]", "object is needed"),
        ("{}", "can't be read"),
        ('{"model": {"type": "Nonsense"}}', "can't be read"),
        ("[" * 100_000, "can't be read"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": []}, "added_tokens": [{"id": 0}]}', "can't be read"),
    ],
)
def test_a_damaged_file_is_a_checkpoint_error(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=says):
        Tokenizer.load(tmp_path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="save_pretrained"):
        Tokenizer.load(tmp_path)


def test_vocabularies_of_other_families_are_refused(byte_level: Callable[..., Spec]) -> None:
    spec = byte_level() | {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    with pytest.raises(UnsupportedModelError, match="WordPiece"):
        Tokenizer(spec)


def test_an_added_token_without_letters_is_none(byte_level: Callable[..., Spec]) -> None:
    spec = byte_level()
    spec["added_tokens"] += [token(257, "")]
    assert Tokenizer(spec).encode("ab", parse_special=True) == [97, 98]
