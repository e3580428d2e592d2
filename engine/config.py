"""What a checkpoint's config.json says of the model's shape, checked: what is not implemented is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from espalier.engine.errors import CheckpointError, UnsupportedModelError

RopeKind = Literal["default", "linear", "llama3", "yarn"]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary embedding and its scaling; fields that a kind does not use keep their defaults."""

    theta: float
    kind: RopeKind = "default"
    factor: float = 1.0
    original_max_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: `top_k` of `num_experts` for each token."""

    num_experts: int
    top_k: int
    intermediate_size: int
    normalize: bool
    layers: frozenset[int]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a decoder. `windows[i]` is layer i's sliding window in tokens, None for full attention."""

    architecture: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    rms_eps: float
    rope: Rope
    max_positions: int
    tie_embeddings: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]
    experts: Experts | None
    dtype: str
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None

    def num_parameters(self) -> int:
        """Weights of the model, each counted once."""
        h, d = self.hidden_size, self.head_dim
        attention = h * d * (2 * self.num_heads + 2 * self.num_kv_heads)
        experts = len(self.experts.layers) if self.experts else 0
        mlp = (self.num_layers - experts) * 3 * h * self.intermediate_size
        if self.experts:
            mlp += experts * self.experts.num_experts * h * (3 * self.experts.intermediate_size + 1)
        embeddings = self.vocab_size * h * (1 if self.tie_embeddings else 2)
        return embeddings + self.num_layers * (attention + 2 * h) + mlp + h

    def kv_bytes_per_token(self, item_bytes: int) -> int:
        """Bytes of keys and values of one token."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * item_bytes


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture reads its config; the weight names are all Llama's."""

    qkv_bias: Callable[[Mapping[str, Any]], bool]
    o_bias: Callable[[Mapping[str, Any]], bool]
    window: Callable[[Mapping[str, Any], int], int | None]
    qk_norm: bool = False
    experts: bool = False


def _attention_bias(config: Mapping[str, Any]) -> bool:
    return bool(config.get("attention_bias", False))


def _no(config: Mapping[str, Any]) -> bool:
    return False


def _yes(config: Mapping[str, Any]) -> bool:
    return True


def _no_window(config: Mapping[str, Any], layer: int) -> int | None:
    return None


def _mistral_window(config: Mapping[str, Any], layer: int) -> int | None:
    return config.get("sliding_window")


def _qwen_window(config: Mapping[str, Any], layer: int) -> int | None:
    if not config.get("use_sliding_window") or layer < config.get("max_window_layers", 0):
        return None
    return config.get("sliding_window")


def _qwen_moe_window(config: Mapping[str, Any], layer: int) -> int | None:
    return config.get("sliding_window") if config.get("use_sliding_window") else None


ARCHITECTURES: dict[str, Architecture] = {
    "LlamaForCausalLM": Architecture(_attention_bias, _attention_bias, _no_window),
    "MistralForCausalLM": Architecture(_no, _no, _mistral_window),
    "Qwen2ForCausalLM": Architecture(_yes, _no, _qwen_window),
    "Qwen3ForCausalLM": Architecture(_attention_bias, _attention_bias, _qwen_window, qk_norm=True),
    "Qwen3MoeForCausalLM": Architecture(_attention_bias, _attention_bias, _qwen_moe_window, qk_norm=True, experts=True),
}

# Fields that would change the answer, and the values under which they don't.
REFUSED: dict[str, tuple[Any, ...]] = {
    "hidden_act": (None, "silu"),
    "quantization_config": (None,),
    "partial_rotary_factor": (None, 1, 1.0),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
}


def _windows(config: Mapping[str, Any], architecture: Architecture, num_layers: int) -> tuple[int | None, ...]:
    kinds = config.get("layer_types")
    if kinds is None:
        return tuple(architecture.window(config, layer) for layer in range(num_layers))
    known = {"full_attention": None, "sliding_attention": config.get("sliding_window")}
    if unknown := set(kinds) - set(known):
        raise UnsupportedModelError(f"layer_types holds {sorted(unknown)!r}; known are {sorted(known)}")
    return tuple(known[kind] for kind in kinds)


def _rope(config: Mapping[str, Any], max_positions: int) -> Rope:
    # transformers 5 writes rope_parameters; older ones rope_theta beside rope_scaling.
    given = dict(config.get("rope_parameters") or {}) or dict(config.get("rope_scaling") or {})
    theta = float(given.get("rope_theta") or config.get("rope_theta") or 10000.0)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in ("default", "linear", "llama3", "yarn"):
        raise UnsupportedModelError(f"rope scaling {kind!r} is not implemented; default, linear, llama3 and yarn are")
    if given.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise UnsupportedModelError(f"partial_rotary_factor {given['partial_rotary_factor']!r} is not implemented")
    original = given.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    numbers = {
        key: float(given[key])
        for key in ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim")
        if given.get(key) is not None
    }
    factor = float(given.get("factor") or 1.0)
    if kind == "yarn" and original:
        # As transformers: where the two disagree, the lengths say the factor.
        factor = float(given.get("factor") or max_positions / original)
    return Rope(
        theta=theta,
        kind=kind,
        factor=factor,
        original_max_positions=int(original or max_positions),
        truncate=bool(given.get("truncate", True)),
        **numbers,
    )


def _experts(config: Mapping[str, Any], num_layers: int) -> Experts:
    every, dense = config.get("decoder_sparse_step", 1), set(config.get("mlp_only_layers") or ())
    layers = frozenset(i for i in range(num_layers) if i not in dense and (i + 1) % every == 0)
    return Experts(
        num_experts=int(config.get("num_experts") or config["num_local_experts"]),
        top_k=int(config["num_experts_per_tok"]),
        intermediate_size=int(config["moe_intermediate_size"]),
        normalize=bool(config.get("norm_topk_prob", False)),
        layers=layers,
    )


def _token_ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (int(value),)


def read_config(config: Mapping[str, Any]) -> ModelConfig:
    """Read config.json. Raises UnsupportedModelError for what is not implemented, CheckpointError for what is missing."""
    name = next(iter(config.get("architectures") or ()), None)
    if name not in ARCHITECTURES:
        raise UnsupportedModelError(f"architecture {name!r} is not implemented; known are {', '.join(sorted(ARCHITECTURES))}")
    for field, harmless in REFUSED.items():
        if config.get(field) not in harmless:
            raise UnsupportedModelError(f"{field} = {config[field]!r} is not implemented; use a checkpoint without it")
    architecture = ARCHITECTURES[name]
    try:
        heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
        hidden, positions = int(config["hidden_size"]), int(config["max_position_embeddings"])
        return ModelConfig(
            architecture=name,
            vocab_size=int(config["vocab_size"]),
            hidden_size=hidden,
            num_layers=layers,
            num_heads=heads,
            num_kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            intermediate_size=int(config["intermediate_size"]),
            rms_eps=float(config.get("rms_norm_eps", 1e-6)),
            rope=_rope(config, positions),
            max_positions=positions,
            tie_embeddings=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=architecture.qkv_bias(config),
            o_bias=architecture.o_bias(config),
            mlp_bias=bool(config.get("mlp_bias", False)),
            qk_norm=architecture.qk_norm,
            windows=_windows(config, architecture, layers),
            experts=_experts(config, layers) if architecture.experts else None,
            dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch."),
            eos_token_ids=_token_ids(config.get("eos_token_id")),
            bos_token_id=config.get("bos_token_id"),
        )
    except KeyError as error:
        raise CheckpointError(f"config.json has no field {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {error}") from error
