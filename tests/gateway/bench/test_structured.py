"""`espalier bench structured` and what it is made of."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Encoder

from espalier import engine as engine_folder
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.bench.mask_workload import Case
from espalier.gateway.bench.structured import ordered, scripts_of, value_len
from espalier.gateway.bench.tekken import read_tekken
from espalier.gateway.cli import main

SCHEMA = {
    "properties": {"b": {"type": "string"}, "a": {"items": {"properties": {"y": {}, "x": {}}}}},
    "additionalProperties": False,
    "type": "object",
}


def tekken(folder: Path, words: list[bytes]) -> Path:
    texts = [*(bytes([byte]) for byte in range(256)), *words]
    vocab = [{"rank": rank, "token_bytes": base64.b64encode(text).decode()} for rank, text in enumerate(texts)]
    config = {"pattern": r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+", "default_vocab_size": len(texts) + 2}
    path = folder / "tekken.json"
    path.write_text(json.dumps({"config": config | {"default_num_special_tokens": 2}, "vocab": vocab}))
    return path


def by_ranks(text: bytes, ranks: dict[bytes, int]) -> list[int]:
    """What ranks mean: the neighbours whose join has the lowest rank are joined first."""
    parts = [bytes([byte]) for byte in text]
    while len(parts) > 1:
        joined = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        best = min(joined)
        if best == len(ranks):
            break
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [ranks[part] for part in parts]


def test_a_tekken_file_becomes_the_tokenizer_that_its_ranks_mean(tmp_path: Path) -> None:
    words = [b"ab", b"bc", b"abc", b" a", b'":', b'":"', b"cd", b"abcd", "é".encode()]
    spec = read_tekken(tekken(tmp_path, words), 1000)
    encoder = Encoder.from_str(json.dumps(spec))
    ranks = {bytes([byte]): byte for byte in range(256)} | {word: 256 + at for at, word in enumerate(words)}
    for text in ("abcd", "abc", "bcd", '":"', '":', "abab", "é"):
        assert encoder.encode(text).ids == by_ranks(text.encode(), ranks)
    tokenizer = Tokenizer(spec)
    assert [tokenizer.token_bytes[rank] for rank in (0x41, 256, 261)] == [b"A", b"ab", b'":"']


def test_instances_are_put_in_the_order_of_the_schema() -> None:
    value = ordered({"a": [{"x": 1, "y": 2, "z": 3}], "b": "q"}, SCHEMA)
    assert json.dumps(value) == '{"b": "q", "a": [{"y": 2, "x": 1, "z": 3}]}'
    assert value_len(value) == 4


def test_only_instances_that_the_grammar_spells_so_are_taken() -> None:
    tokenizer = Tokenizer.load(Path(str(engine_folder.__file__)).parent / "bundled")
    cases = [Case("a", SCHEMA, ({"a": [], "b": "x"}, {"c": 1}, {"b": "long " * 100})), Case("b", False, (1,))]
    scripts = list(scripts_of(cases, tokenizer, 50))
    assert [script.text for script in scripts] == [b'{"b":"x","a":[]}']
    assert scripts[0].structural == pytest.approx(15 / 16)


def test_the_command_measures_both_arms(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espalier.gateway.bench.structured.many_cases", lambda count: _few_cases())
    words = [
        "bench",
        "structured",
        "--random-weights",
        "tiny",
        "--threads",
        "1",
        "--batch",
        "2",
        "--ablations",
        "--json",
    ]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["way"] for row in rows} >= {"all", "without jump-forward", "without sparse head", "without kept masks"}
    forced = {row["way"]: row["forced"] for row in rows if row["part"] == "all"}
    assert forced["all"] > 0.2
    assert forced["without jump-forward"] == 0
    assert all(row["warm_ratio"] > 0 for row in rows)


def _few_cases() -> list[Case]:
    schema = {"properties": {"city": {"type": "string"}, "kind": {"enum": ["round", "square"]}}, "type": "object"}
    closed = schema | {"required": ["city", "kind"], "additionalProperties": False}
    return [Case("a", closed, ({"city": "Oslo", "kind": "round"}, {"city": "", "kind": "square"}))]
