"""Checkpoints with random weights, for benchmarks and tests: real files of a real shape that say nothing sensible."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama; sizes in features."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    max_positions: int = 8192


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 96, 512, 1024),
    "15m": Shape(256, 6, 8, 4, 768, 8192),
    "135m": Shape(576, 30, 9, 3, 1536, 49152),
}
"""15m and 135m are those of the benchmarks; the embedding is tied to the head."""


def _weights(shape: Shape, seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    head = shape.hidden // shape.heads

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(columns**-0.5)

    weights = {
        "model.embed_tokens.weight": matrix(shape.vocab, shape.hidden),
        "model.norm.weight": np.ones(shape.hidden, np.float32),
    }
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        weights |= {
            prefix + "input_layernorm.weight": np.ones(shape.hidden, np.float32),
            prefix + "post_attention_layernorm.weight": np.ones(shape.hidden, np.float32),
            prefix + "self_attn.q_proj.weight": matrix(shape.heads * head, shape.hidden),
            prefix + "self_attn.k_proj.weight": matrix(shape.kv_heads * head, shape.hidden),
            prefix + "self_attn.v_proj.weight": matrix(shape.kv_heads * head, shape.hidden),
            prefix + "self_attn.o_proj.weight": matrix(shape.hidden, shape.heads * head),
            prefix + "mlp.gate_proj.weight": matrix(shape.intermediate, shape.hidden),
            prefix + "mlp.up_proj.weight": matrix(shape.intermediate, shape.hidden),
            prefix + "mlp.down_proj.weight": matrix(shape.hidden, shape.intermediate),
        }
    return weights


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "intermediate_size": shape.intermediate,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": 0,
    }


def _tokenizer(vocab: int) -> dict[str, Any]:
    """Byte-level BPE: an end token, the 256 bytes, then pairs of lower-case letters, triples, and so on."""
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(0x100 + at) for at in range(len(others))]
    tokens, merges = ["<|end|>", *letters], []
    known, grown = set(tokens), [chr(code) for code in range(ord("a"), ord("z") + 1)]
    while len(tokens) < vocab:
        longer: list[str] = []
        for left in grown:
            for right in "abcdefghijklmnopqrstuvwxyz":
                if left + right not in known and len(tokens) < vocab:
                    tokens.append(left + right)
                    known.add(left + right)
                    merges.append([left, right])
                    longer.append(left + right)
        grown = longer
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": 0,
                "content": "<|end|>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
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
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": merges,
        },
    }


CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def write_random_checkpoint(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """Write a checkpoint of random normal weights; the same seed gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(shape, seed), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_config(shape), indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(shape.vocab)))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"chat_template": CHAT_TEMPLATE, "eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
        )
    )
    return folder
