"""Tiny random checkpoints of every architecture, written by transformers, and tokenizers to go with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from espalier.engine.token_bytes import byte_alphabet

BASE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
ROPE = {"rope_theta": 1000.0}
MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 8}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"num_key_value_heads": 4}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "llama-wide-heads": ("Llama", {"head_dim": 24}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-linear": ("Llama", {"rope_parameters": ROPE | {"rope_type": "linear", "factor": 4.0}}),
    "llama-llama3": (
        "Llama",
        {
            "rope_parameters": ROPE
            | {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "llama-yarn": (
        "Llama",
        {
            "head_dim": 16,
            "rope_parameters": ROPE | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        },
    ),
    "llama-yarn-mscale": (
        "Llama",
        {
            "head_dim": 16,
            "rope_parameters": ROPE
            | {
                "rope_type": "yarn",
                "factor": 8.0,
                "original_max_position_embeddings": 32,
                "beta_fast": 8.0,
                "beta_slow": 2.0,
                "mscale": 0.7,
                "mscale_all_dim": 0.4,
                "truncate": False,
            },
        },
    ),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral-window": ("Mistral", {"sliding_window": 7, "head_dim": 16}),
    "qwen2": ("Qwen2", {}),
    "qwen2-window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "tie_word_embeddings": True},
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3-window": (
        "Qwen3",
        {
            "head_dim": 8,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 6,
            "max_window_layers": 2,
        },
    ),
    "qwen3-moe": ("Qwen3Moe", MOE | {"norm_topk_prob": True, "mlp_only_layers": [0]}),
    "qwen3-moe-sparse": ("Qwen3Moe", MOE | {"decoder_sparse_step": 2, "tie_word_embeddings": True}),
}


def random_model(case: str) -> Any:
    """A model whose every parameter matters: no zero biases, no norms of one, attention that is not flat."""
    name, settings = CASES[case]
    config = getattr(transformers, f"{name}Config")(**BASE | {"rope_parameters": dict(ROPE)} | settings)
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    random = torch.Generator().manual_seed(sum(map(ord, case)))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=random)
            norm = parameter.ndim == 1
            parameter.copy_(1 + 0.2 * noise if norm else 1.5 * noise * parameter.shape[-1] ** -0.5)
    return model


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_checkpoint("qwen3", dtype=torch.float32, shard="1GB")`: the folder of a case, written once."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(case: str, dtype: torch.dtype = torch.float32, shard: str = "1GB") -> Path:
        if (case, dtype, shard) not in made:
            folder = tmp_path_factory.mktemp(case)
            random_model(case).to(dtype).save_pretrained(folder, max_shard_size=shard)
            made[case, dtype, shard] = folder
        return made[case, dtype, shard]

    return make


def byte_level_spec(words: tuple[str, ...] = (), markers: tuple[str, ...] = ("<|end|>",)) -> dict[str, Any]:
    """A tokenizer.json of byte-level BPE: the 256 bytes, tokens for `words`, then `markers` as special tokens."""
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    tokens, merges = [letters[byte] for byte in range(256)], []
    for word in words:
        grown = ""
        for byte in word.encode():
            if grown and grown + letters[byte] not in tokens:
                tokens.append(grown + letters[byte])
                merges.append([grown, letters[byte]])
            grown += letters[byte]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [added(len(tokens) + at, marker) for at, marker in enumerate(markers)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {token: at for at, token in enumerate(tokens)}, "merges": merges},
    }


def added(token_id: int, content: str, **flags: bool) -> dict[str, Any]:
    """An entry of added_tokens."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **plain, **flags}


@pytest.fixture(scope="session")
def byte_level() -> Callable[..., dict[str, Any]]:
    return byte_level_spec


@pytest.fixture(scope="session")
def write_tokenizer() -> Callable[..., Path]:
    """Write a tokenizer.json and, from keywords, tokenizer_config.json into a folder."""

    def write(folder: Path, spec: dict[str, Any], **config: Any) -> Path:
        (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder

    return write
