"""Trains the bundled model's tokenizer: byte-level BPE over the dialogues, with all 256 bytes in its vocabulary.

python examples/bundled_model/make_tokenizer.py --out engine/bundled
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from dialogues import make_dialogue
from rendering import render
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
# A word never takes the sign before it along, and camel case is cut: so it has the same tokens wherever it stands, and
# to copy it is to copy them. Single digits; runs of signs; white space.
SPLIT = r"\p{Lu}?[\p{Ll}\p{M}]+|\p{Lu}+(?!\p{Ll})|\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def texts(seed: int, count: int) -> Iterator[str]:
    """Dialogues as text; the roles and markers are in them, special tokens are split off by the trainer."""
    rng = Random(seed)
    for _ in range(count):
        yield render(make_dialogue(rng))


def train(seed: int, count: int, vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly `vocab_size` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        show_progress=False,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
    )
    tokenizer.train_from_iterator(texts(seed, count), trainer)
    return tokenizer


def main() -> None:
    """Write tokenizer.json, tokenizer_config.json and generation_config.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dialogues", type=int, default=20000)
    parser.add_argument("--vocab-size", type=int, default=3072)
    arguments = parser.parse_args()
    tokenizer = train(arguments.seed, arguments.dialogues, arguments.vocab_size)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 8192,
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
    }
    (arguments.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    ends = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    generation = {
        "eos_token_id": ends,
        "pad_token_id": tokenizer.token_to_id("<|pad|>"),
        "do_sample": False,
    }
    (arguments.out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    print(f"{tokenizer.get_vocab_size()} tokens -> {arguments.out / 'tokenizer.json'}")


if __name__ == "__main__":
    main()
