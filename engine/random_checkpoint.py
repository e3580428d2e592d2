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
    """A Llama, or with `qk_norm` a Qwen3; sizes in features. `head` None is hidden / heads."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    max_positions: int = 8192
    head: int | None = None
    qk_norm: bool = False

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.head or self.hidden // self.heads


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 96, 512, 1024),
    "15m": Shape(256, 6, 8, 4, 768, 8192),
    "135m": Shape(576, 30, 9, 3, 1536, 49152),
    "qwen3-0.6b": Shape(1024, 28, 16, 8, 3072, 151936, head=128, qk_norm=True),
    "qwen3-1.7b": Shape(2048, 28, 16, 8, 6144, 151936, head=128, qk_norm=True),
    "llama3.2-1b": Shape(2048, 16, 32, 8, 8192, 128256),
}
"""15m and 135m are those of the benchmarks beside other engines; the embedding is tied to the head."""


def _weights(shape: Shape, seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    head = shape.head_dim

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
            **(
                {prefix + f"self_attn.{x}_norm.weight": np.ones(head, np.float32) for x in "qk"}
                if shape.qk_norm
                else {}
            ),
            prefix + "mlp.gate_proj.weight": matrix(shape.intermediate, shape.hidden),
            prefix + "mlp.up_proj.weight": matrix(shape.intermediate, shape.hidden),
            prefix + "mlp.down_proj.weight": matrix(shape.hidden, shape.intermediate),
        }
    return weights


def _config(shape: Shape, end_token_id: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM" if shape.qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if shape.qk_norm else "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": end_token_id,
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


def write_random_checkpoint(
    folder: Path, shape: Shape, seed: int = 0, *, tokenizer: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint of random normal weights; the same seed gives the same files.

    `tokenizer` is a tokenizer.json with `<|end|>` as an added token, of at most the shape's vocabulary; default one of
    that size that is made up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(shape, seed), folder / "model.safetensors")
    tokenizer = tokenizer or _tokenizer(shape.vocab)
    [end_token_id] = [token["id"] for token in tokenizer["added_tokens"] if token["content"] == "<|end|>"]
    (folder / "config.json").write_text(json.dumps(_config(shape, end_token_id), indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"chat_template": CHAT_TEMPLATE, "eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
        )
    )
    return folder
