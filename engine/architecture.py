"""The architectures that are implemented, as a table: what each takes from its config.json and what it presumes.

The weight names are Llama's in all of them. `absent` holds the values that a missing field stands for, where
transformers' configuration class presumes another than Llama's does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from espalier.engine.errors import UnsupportedModelError

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture reads its config; `window` gives a layer's sliding window in tokens, None for none."""

    qkv_bias: Callable[[Fields], bool]
    o_bias: Callable[[Fields], bool]
    mlp_bias: Callable[[Fields], bool]
    window: Callable[[Fields, int], int | None]
    qk_norm: bool = False
    experts: bool = False
    absent: Fields = field(default_factory=dict)


def _attention_bias(config: Fields) -> bool:
    return bool(config.get("attention_bias", False))


def _mlp_bias(config: Fields) -> bool:
    return bool(config.get("mlp_bias", False))


def _no(config: Fields) -> bool:
    return False


def _yes(config: Fields) -> bool:
    return True


def _no_window(config: Fields, layer: int) -> int | None:
    return None


def _window(config: Fields, layer: int) -> int | None:
    return config.get("sliding_window")


def _switched_window(config: Fields, layer: int) -> int | None:
    return config.get("sliding_window") if config.get("use_sliding_window") else None


def _layered_window(config: Fields, layer: int) -> int | None:
    kinds = config.get("layer_types")
    if kinds is None:
        slides = layer >= config.get("max_window_layers", 28)
    elif layer < len(kinds) and kinds[layer] in ("full_attention", "sliding_attention"):
        slides = kinds[layer] == "sliding_attention"
    else:
        raise UnsupportedModelError(
            f"config.json: layer_types = {kinds!r}: full_attention or sliding_attention is needed for every layer"
        )
    return _switched_window(config, layer) if slides else None


QWEN = {"num_key_value_heads": 32, "sliding_window": 4096}

ARCHITECTURES: dict[str, Architecture] = {
    "LlamaForCausalLM": Architecture(_attention_bias, _attention_bias, _mlp_bias, _no_window),
    "MistralForCausalLM": Architecture(
        _no, _no, _no, _window, absent={"num_key_value_heads": 8, "sliding_window": 4096}
    ),
    "Qwen2ForCausalLM": Architecture(_yes, _no, _no, _layered_window, absent=QWEN),
    "Qwen3ForCausalLM": Architecture(
        _attention_bias, _attention_bias, _no, _layered_window, qk_norm=True, absent=QWEN | {"head_dim": 128}
    ),
    "Qwen3MoeForCausalLM": Architecture(
        _attention_bias,
        _attention_bias,
        _no,
        _switched_window,
        qk_norm=True,
        experts=True,
        absent=QWEN | {"num_key_value_heads": 4},
    ),
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that changes the answer: the values under which it does not, and what to do about the others."""

    harmless: tuple[Any, ...]
    remedy: str


REFUSED: dict[str, Refused] = {
    "hidden_act": Refused((None, "silu", "swish"), "only silu is implemented"),
    "quantization_config": Refused((None,), "take the unquantized checkpoint, and --weights int8 on the CPU"),
    "partial_rotary_factor": Refused((None, 1), "only heads that rotate as a whole are implemented"),
    "attn_logit_softcapping": Refused((None,), "take a checkpoint without it"),
    "final_logit_softcapping": Refused((None,), "take a checkpoint without it"),
    "attention_chunk_size": Refused((None,), "take a checkpoint without it"),
    "is_encoder_decoder": Refused((None, False), "only decoders are implemented"),
}


def find_architecture(config: Fields) -> tuple[str, Architecture]:
    """Name and entry of a config's architecture. Raises UnsupportedModelError for what would answer wrongly."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"config.json: architectures = {names!r} is not implemented; known are {', '.join(sorted(ARCHITECTURES))}"
        )
    for key, refused in REFUSED.items():
        if config.get(key) not in refused.harmless:
            raise UnsupportedModelError(
                f"config.json: {key} = {_short(config[key])} is not implemented; {refused.remedy}"
            )
    return name, ARCHITECTURES[name]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
