"""Rotary tables against transformers' own parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from espalier.engine.config import read_config
from espalier.engine.rope import rotary_table

SCALINGS: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 3.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    {
        "rope_type": "yarn",
        "factor": 40.0,
        "original_max_position_embeddings": 4096,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
    },
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64, "truncate": False, "beta_fast": 16},
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64, "attention_factor": 1.5},
    {"rope_type": "yarn", "factor": 16.0},
]


def fields(scaling: dict[str, Any], theta: float, head_dim: int) -> dict[str, Any]:
    return {
        "vocab_size": 64,
        "hidden_size": 4 * head_dim,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "max_position_embeddings": 131072,
        "rope_parameters": {"rope_theta": theta, **scaling},
    }


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("theta", "head_dim"), [(10000.0, 64), (500000.0, 128), (1e6, 16)])
def test_tables_are_those_of_transformers(scaling: dict[str, Any], theta: float, head_dim: int) -> None:
    given = fields(scaling, theta, head_dim)
    peer = transformers.LlamaConfig(**given)
    frequency, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](peer, torch.device("cpu"))
    angle = torch.outer(torch.arange(100).float(), frequency)
    wanted = torch.cat((angle.cos(), angle.sin()), dim=-1) * factor
    config = read_config(given | {"architectures": ["LlamaForCausalLM"]})
    torch.testing.assert_close(rotary_table(config.rope, config.head_dim, 100), wanted, atol=2e-5, rtol=1e-5)


def test_without_scaling_the_frequencies_are_geometric() -> None:
    config = read_config(fields({}, 10000.0, 8) | {"architectures": ["LlamaForCausalLM"]})
    table = rotary_table(config.rope, 8, 5)
    frequency = torch.tensor([1.0, 0.1, 0.01, 0.001])
    torch.testing.assert_close(table[3], torch.cat(((3 * frequency).cos(), (3 * frequency).sin())))
