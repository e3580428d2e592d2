"""A tekken.json (a byte-level BPE by ranks, with its pattern) as a tokenizer.json, for models with random weights."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from espalier.engine.token_bytes import byte_alphabet

END = "<|end|>"


def read_tekken(path: Path, vocab: int) -> dict[str, Any]:
    """Its first `vocab` - 1 tokens and an end token."""
    spec = json.loads(path.read_text(encoding="utf-8"))
    size = min(vocab - 1, spec["config"]["default_vocab_size"] - spec["config"]["default_num_special_tokens"])
    texts = [base64.b64decode(entry["token_bytes"]) for entry in spec["vocab"][:size]]
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    spelled = ["".join(letters[byte] for byte in text) for text in texts]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": spec["config"]["pattern"]}, "behavior": "Isolated", "invert": False}
    end = {"id": size, "content": END, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | end],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {text: rank for rank, text in enumerate(spelled)},
            "merges": merges(spelled),
        },
    }


def merges(spelled: list[str]) -> list[tuple[str, str]]:
    """All pairs that make a token, by its rank, then by theirs: what ranks mean to a BPE that is told pairs."""
    ranks = {text: rank for rank, text in enumerate(spelled)}
    found: list[tuple[str, str]] = []
    for text in spelled:
        pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [(left, right) for left, right in pairs if left in ranks and right in ranks]
        found += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return found
