"""Forced text in tokens: what is given is what the tokenizer writes, whatever follows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Encoder

from espalier import engine as engine_folder
from espalier.engine.canonical import Canonical, Forced
from espalier.engine.tokenizer import Tokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
WORDS = (
    "name",
    "don't",
    "we'll",
    "Größe",
    "日本",
    "😀",
    "42",
    "1234567",
    "3.5",
    "true",
    "a_b",
    "x-y",
    "  ",
    "\n",
    "\n  ",
    " ",
)
SIGNS = ('{"', '":', '": ', '","', '", "', "}", "]", "[", ",", '"', "'", "\\n", '"}', ":", "{}", "''")


def text_of(source: random.Random, size: int) -> str:
    return "".join(source.choice(source.choice((WORDS, SIGNS))) for _ in range(size))


def trained(pattern: str | None) -> Tokenizer:
    encoder = Encoder(models.BPE())
    steps = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    encoder.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False, use_regex=False)])
    encoder.decoder = decoders.ByteLevel()
    source = random.Random(0)
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    encoder.train_from_iterator([text_of(source, 200) for _ in range(50)], trainer)
    return Tokenizer(json.loads(encoder.to_str()))


@pytest.fixture(scope="module", params=["gpt2", "llama3", "o200k", "none", "bundled"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "bundled":
        return Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    return trained({"gpt2": GPT2, "llama3": LLAMA3, "o200k": O200K, "none": None}[request.param])


def test_tokens_are_those_of_the_whole_text_whatever_follows(tokenizer: Tokenizer) -> None:
    source, canonical, given = random.Random(1), Canonical(tokenizer), 0
    for _ in range(3000):
        before, forced, after = (text_of(source, source.randint(*sizes)) for sizes in ((0, 6), (1, 4), (0, 4)))
        whole, there = tokenizer.encode(before + forced + after), tokenizer.encode(before)
        if whole[: len(there)] != there:
            continue
        data = after.encode()
        others = [
            word.encode()[: source.choice((1, 2))] for word in source.choices(WORDS + SIGNS, k=source.choice((0, 3)))
        ]
        # A sign alone says too little unless nothing comes behind it.
        first = data[:1] if data[:1].isalnum() or len(data) == 1 else data[:2]
        then = tuple(one for one in (first, *others) if one) if source.random() < 0.8 else None
        found = canonical.tokens(there, Forced(forced.encode(), then, may_end=not data))
        assert whole[len(there) : len(there) + len(found)] == found
        given += len(found)
    pieces = tokenizer.pieces("name and name")
    assert pieces is not None
    # Without pre-tokens little is certain: where the text ends.
    assert given > (500 if len({*pieces.words}) > 1 else 0)


def test_the_last_piece_is_left_to_the_mask_where_something_could_join_it(tokenizer: Tokenizer) -> None:
    canonical = Canonical(tokenizer)
    forced = b'{"name":"'
    whole = tokenizer.pieces(forced.decode())
    assert whole is not None
    anything = canonical.tokens([], Forced(forced, None, may_end=False))
    assert anything == whole.ids[: len(anything)]
    assert len(anything) < len(whole.ids)
    nothing = canonical.tokens([], Forced(forced, (), may_end=True))
    assert nothing == whole.ids


def test_nothing_is_given_behind_tokens_that_the_tokenizer_would_not_have_written() -> None:
    tokenizer = Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    letters = [tokenizer.encode(letter)[0] for letter in "nam"]
    assert tokenizer.encode("name") != [*letters, tokenizer.encode("e")[0]]
    assert Canonical(tokenizer).tokens(letters, Forced(b"e", (b'"',), may_end=False)) == []


def test_a_special_token_before_does_not_matter() -> None:
    tokenizer = Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    special = min(tokenizer.special_ids)
    forced = Forced(b'{"name":1}', (), may_end=True)
    assert Canonical(tokenizer).tokens([special], forced) == tokenizer.encode('{"name":1}')


def test_markers_that_forced_text_spells_stay_text() -> None:
    tokenizer = Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    marker = next(text for text, token in tokenizer.added_tokens.items() if token in tokenizer.special_ids)
    found = Canonical(tokenizer).tokens([], Forced(f'"{marker}"'.encode(), (), may_end=True))
    assert not tokenizer.special_ids & set(found)
    assert tokenizer.decode(found) == f'"{marker}"'


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_beginning_of_a_character_waits_for_its_rest(cut: int) -> None:
    tokenizer = Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    forced = b"ab, cd " + "😀".encode()[:cut]
    found = Canonical(tokenizer).tokens([], Forced(forced, None, may_end=False))
    assert b"ab, cd ".startswith(b"".join(tokenizer.token_bytes[token] or b"" for token in found))


def test_what_was_asked_before_changes_nothing(tokenizer: Tokenizer) -> None:
    source, used = random.Random(2), Canonical(tokenizer)
    for _ in range(300):
        there, forced = tokenizer.encode(text_of(source, 5)), Forced(text_of(source, 3).encode(), None, may_end=False)
        for size in (1, 2, 4, len(there)):
            assert used.tokens(there[-size:], forced) == Canonical(tokenizer).tokens(there[-size:], forced)


def test_bytes_that_are_no_text_are_left_to_the_mask(tokenizer: Tokenizer) -> None:
    assert Canonical(tokenizer).tokens([], Forced(b"ab\xff\xfe c", (), may_end=True)) == []


def test_a_sign_that_few_things_may_follow_is_looked_behind(tokenizer: Tokenizer) -> None:
    then = (*(bytes([byte]) for byte in b"0123456789"), *(b"-" + bytes([byte]) for byte in b"0123456789"))
    found = Canonical(tokenizer).tokens([], Forced(b'{"size":', then, may_end=False))
    pieces = tokenizer.pieces('{"size":')
    assert pieces is not None
    assert found == pieces.ids[: len(found)]
