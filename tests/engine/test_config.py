"""config.json in all its spellings, against transformers' own reading of it; and what is refused, by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from espalier.engine.architecture import ARCHITECTURES
from espalier.engine.config import ModelConfig, read_config
from espalier.engine.errors import CheckpointError, UnsupportedModelError

Fields = dict[str, Any]
LLAMA: Fields = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
MOE: Fields = LLAMA | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_key_value_heads": 2,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}


def theirs(fields: Fields) -> Any:
    name = fields["architectures"][0].removesuffix("ForCausalLM")
    return getattr(transformers, f"{name}Config")(**{key: v for key, v in fields.items() if key != "architectures"})


def test_old_and_new_spellings_say_the_same() -> None:
    old = LLAMA | {"rope_theta": 5e5, "torch_dtype": "bfloat16", "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = LLAMA | {"dtype": "bfloat16", "rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}}
    assert read_config(old) == read_config(new)
    assert read_config(old).rope.theta == 5e5 and read_config(old).dtype == "bfloat16"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_what_a_config_leaves_out_is_what_transformers_presumes(name: str) -> None:
    fields = MOE | LLAMA | {"architectures": [name], "num_attention_heads": 32, "hidden_size": 128}
    found, wanted = read_config(fields), theirs(fields)
    assert found.num_kv_heads == wanted.num_key_value_heads
    assert found.head_dim == (getattr(wanted, "head_dim", None) or 128 // 32)
    assert found.rms_eps == wanted.rms_norm_eps
    assert found.tie_embeddings == wanted.tie_word_embeddings
    assert found.rope.theta == wanted.rope_parameters["rope_theta"]
    assert found.windows[0] == (4096 if name == "MistralForCausalLM" else None)


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({"architectures": ["LlamaForCausalLM"], "sliding_window": 5}, (None, None, None)),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 5}, (5, 5, 5)),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": None}, (None, None, None)),
        ({"sliding_window": 5}, (None, None, None)),
        ({"sliding_window": 5, "use_sliding_window": True}, (None, None, None)),
        ({"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 1}, (None, 5, 5)),
        (
            {
                "sliding_window": 5,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
            (5, None, 5),
        ),
        ({"sliding_window": 5, "layer_types": ["sliding_attention"] * 3}, (None, None, None)),
        (
            {"architectures": ["Qwen3MoeForCausalLM"], "sliding_window": 5, "use_sliding_window": True},
            (5, 5, 5),
        ),
    ],
)
def test_windows_are_where_the_architecture_has_them(changes: Fields, windows: tuple[int | None, ...]) -> None:
    fields = MOE | {"architectures": ["Qwen2ForCausalLM"]} | changes
    assert read_config(fields).windows == windows


@pytest.mark.parametrize(
    ("name", "qkv", "o", "mlp"),
    [
        ("LlamaForCausalLM", True, True, True),
        ("MistralForCausalLM", False, False, False),
        ("Qwen2ForCausalLM", True, False, False),
        ("Qwen3ForCausalLM", True, True, False),
        ("Qwen3MoeForCausalLM", True, True, False),
    ],
)
def test_biases_are_where_the_architecture_has_them(name: str, qkv: bool, o: bool, mlp: bool) -> None:
    biased = {"architectures": [name], "attention_bias": True, "mlp_bias": True}
    found = read_config(MOE | biased)
    assert (found.qkv_bias, found.o_bias, found.mlp_bias) == (qkv, o, mlp)


def test_experts_are_in_the_layers_that_the_config_chooses() -> None:
    every = read_config(MOE).experts
    assert every is not None and every.layers == {0, 1, 2} and not every.normalize
    second = read_config(MOE | {"decoder_sparse_step": 2, "norm_topk_prob": True}).experts
    assert second is not None and second.layers == {1} and second.normalize
    without = read_config(MOE | {"mlp_only_layers": [1]}).experts
    assert without is not None and without.layers == {0, 2}
    local = read_config({key: v for key, v in MOE.items() if key != "num_experts"} | {"num_local_experts": 5}).experts
    assert local is not None and local.num_experts == 5


def test_yarn_reaches_beyond_the_length_before_scaling() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    assert read_config(LLAMA | {"rope_scaling": scaling}).max_positions == 2048
    assert read_config(LLAMA | {"rope_scaling": scaling, "max_position_embeddings": 4096}).max_positions == 4096
    lengths = {"rope_type": "yarn", "original_max_position_embeddings": 128}
    assert read_config(LLAMA | {"rope_scaling": lengths}).rope.factor == 4.0


def test_end_tokens_are_one_or_several() -> None:
    assert read_config(LLAMA).eos_token_ids == ()
    assert read_config(LLAMA | {"eos_token_id": 7, "bos_token_id": 3}).eos_token_ids == (7,)
    assert read_config(LLAMA | {"eos_token_id": [7, 8]}).eos_token_ids == (7, 8)


REFUSED: list[tuple[Fields, str]] = [
    ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
    ({"architectures": []}, "architectures"),
    ({"architectures": None}, "architectures"),
    ({"architectures": [["x"]]}, "architectures"),
    ({"hidden_act": "gelu"}, "hidden_act = 'gelu'.*silu"),
    ({"quantization_config": {"quant_method": "gptq", "x": "y" * 1000}}, "quantization_config.*unquantized"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
    ({"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic' is not implemented.*yarn"),
    ({"rope_scaling": {"rope_type": "longrope"}}, "'longrope'"),
    ({"rope_scaling": {"rope_type": "mrope"}}, "'mrope'"),
    ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
    ({"architectures": ["Qwen2ForCausalLM"], "layer_types": ["full_attention", "chunked", "x"]}, "layer_types"),
    ({"architectures": ["Qwen2ForCausalLM"], "layer_types": ["full_attention"]}, "layer_types"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_what_is_not_implemented_is_refused_by_name(changes: Fields, says: str) -> None:
    with pytest.raises(UnsupportedModelError, match=says) as caught:
        read_config(LLAMA | changes)
    assert len(str(caught.value)) < 400


WRONG: list[tuple[Fields, str]] = [
    ({"vocab_size": None}, "no field 'vocab_size'"),
    ({"hidden_size": "32"}, "hidden_size = '32'"),
    ({"hidden_size": 0}, "hidden_size = 0"),
    ({"num_hidden_layers": -1}, "num_hidden_layers = -1"),
    ({"num_hidden_layers": 2**40}, "num_hidden_layers"),
    ({"num_attention_heads": True}, "num_attention_heads = True"),
    ({"num_attention_heads": 2.0}, "num_attention_heads = 2.0"),
    ({"num_key_value_heads": 3}, "no multiple"),
    ({"head_dim": 7}, "head_dim = 7"),
    ({"rms_norm_eps": math.nan}, "rms_norm_eps"),
    ({"rms_norm_eps": -1}, "rms_norm_eps"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ({"rope_theta": math.inf}, "rope_theta"),
    ({"rope_scaling": "linear"}, "rope_scaling"),
    ({"rope_scaling": {"type": "linear"}}, "'factor'"),
    ({"rope_scaling": {"type": "llama3", "factor": 0}}, "factor = 0"),
    ({"eos_token_id": "x"}, "token id"),
    ({"eos_token_id": [1, -1]}, "token id"),
    ({"architectures": ["MistralForCausalLM"], "num_key_value_heads": 2, "sliding_window": 0}, "sliding_window = 0"),
    (MOE | {"num_experts_per_tok": 9}, "num_experts_per_tok = 9"),
    (MOE | {"decoder_sparse_step": 0}, "decoder_sparse_step = 0"),
    (MOE | {"mlp_only_layers": 1}, "mlp_only_layers = 1"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_what_is_wrong_is_an_error_by_name(changes: Fields, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_config(LLAMA | changes)


@pytest.mark.parametrize("case", ["llama", "llama-biases", "qwen2-window", "qwen3", "qwen3-moe", "qwen3-moe-sparse"])
def test_parameters_are_counted_as_the_file_holds_them(case: str, make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(case)
    config = read_config(json.loads((folder / "config.json").read_text()))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert config.num_parameters() == sum(parameter.numel() for parameter in model.parameters())


def test_memory_of_keys_and_values_is_counted() -> None:
    config: ModelConfig = read_config(LLAMA | {"num_key_value_heads": 2})
    assert config.kv_bytes_per_token(4) == 2 * 3 * 2 * 8 * 4
