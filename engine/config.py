"""What a checkpoint's config.json says of the model's shape, checked: what is not implemented is refused by name.

transformers 5 writes `rope_parameters` and `dtype`, older releases `rope_theta`, `rope_scaling` and `torch_dtype`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from espalier.engine.architecture import Architecture, find_architecture
from espalier.engine.errors import CheckpointError, UnsupportedModelError
from espalier.engine.field_reader import FieldReader

RopeKind = Literal["default", "linear", "llama3", "yarn"]
ROPE_KINDS: dict[str, RopeKind] = {"default": "default", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}
ROPE_NUMBERS = (
    "low_freq_factor",
    "high_freq_factor",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
)


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
        h, q, kv = self.hidden_size, self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = 2 * h * (q + kv) + (q + 2 * kv) * self.qkv_bias + h * self.o_bias
        norms = 2 * h + 2 * self.head_dim * self.qk_norm
        experts = len(self.experts.layers) if self.experts else 0
        dense = 3 * h * self.intermediate_size + (2 * self.intermediate_size + h) * self.mlp_bias
        mlp = (self.num_layers - experts) * dense
        if self.experts:
            mlp += experts * self.experts.num_experts * h * (3 * self.experts.intermediate_size + 1)
        embeddings = self.vocab_size * h * (1 if self.tie_embeddings else 2)
        return embeddings + self.num_layers * (attention + norms) + mlp + h

    def kv_bytes_per_token(self, item_bytes: int) -> int:
        """Bytes of keys and values of one token."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * item_bytes


def read_config(config: Mapping[str, Any]) -> ModelConfig:
    """Read config.json. Raises UnsupportedModelError for what is not implemented, CheckpointError for what is wrong."""
    name, architecture = find_architecture(config)
    config = {**architecture.absent, **config}
    read = FieldReader(config)
    heads, layers, hidden = (read.integer(key) for key in ("num_attention_heads", "num_hidden_layers", "hidden_size"))
    positions = read.integer("max_position_embeddings")
    rope = _rope(config, positions)
    shape = ModelConfig(
        architecture=name,
        vocab_size=read.integer("vocab_size"),
        hidden_size=hidden,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=read.integer("num_key_value_heads", heads),
        head_dim=read.integer("head_dim", max(hidden // heads, 1)),
        intermediate_size=read.integer("intermediate_size"),
        rms_eps=read.number("rms_norm_eps", 1e-6),
        rope=rope,
        max_positions=_reach(rope, positions),
        tie_embeddings=read.flag("tie_word_embeddings"),
        qkv_bias=architecture.qkv_bias(config),
        o_bias=architecture.o_bias(config),
        mlp_bias=architecture.mlp_bias(config),
        qk_norm=architecture.qk_norm,
        windows=_windows(config, architecture, layers),
        experts=_experts(config, layers) if architecture.experts else None,
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch."),
        eos_token_ids=_token_ids(config.get("eos_token_id")),
        bos_token_id=next(iter(_token_ids(config.get("bos_token_id"))), None),
    )
    _check(shape)
    return shape


def _check(shape: ModelConfig) -> None:
    if shape.num_heads % shape.num_kv_heads:
        raise CheckpointError(
            f"config.json: num_attention_heads = {shape.num_heads} is no multiple of "
            f"num_key_value_heads = {shape.num_kv_heads}"
        )
    if shape.head_dim % 2:
        raise CheckpointError(f"config.json: head_dim = {shape.head_dim}; rotary embedding needs an even one")


def _windows(config: Mapping[str, Any], architecture: Architecture, num_layers: int) -> tuple[int | None, ...]:
    windows = tuple(architecture.window(config, layer) for layer in range(num_layers))
    if any(window is not None for window in windows):
        FieldReader(config).integer("sliding_window")
    return windows


def _rope(config: Mapping[str, Any], max_positions: int) -> Rope:
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise CheckpointError(f"config.json: rope_scaling = {given!r}; an object is needed")
    if nested := [key for key, value in given.items() if isinstance(value, Mapping)]:
        raise UnsupportedModelError(f"config.json: rope_parameters for {nested} apart are not implemented")
    read = FieldReader(given)
    name = given.get("rope_type") or given.get("type") or "default"
    if name not in ROPE_KINDS:
        raise UnsupportedModelError(
            f"config.json: rope scaling {name!r} is not implemented, {', '.join(ROPE_KINDS)} are; "
            "without rope_scaling the model answers up to its original context"
        )
    kind = ROPE_KINDS[name]
    if given.get("partial_rotary_factor") not in (None, 1):
        raise UnsupportedModelError(
            f"config.json: partial_rotary_factor = {given['partial_rotary_factor']!r} is not implemented; "
            "only heads that rotate as a whole are"
        )
    # As in transformers, the field beside rope_scaling goes before the one inside.
    original = FieldReader(config).integer(
        "original_max_position_embeddings", read.integer("original_max_position_embeddings", max_positions)
    )
    if kind in ("linear", "llama3") and given.get("factor") is None:
        raise CheckpointError(f"config.json: rope scaling {name!r} has no field 'factor'")
    return Rope(
        theta=read.number("rope_theta", FieldReader(config).number("rope_theta", 10000.0)),
        kind=kind,
        # Where a YaRN config is silent, the two lengths say the factor.
        factor=read.number("factor", max_positions / original if kind == "yarn" else 1.0),
        original_max_positions=original,
        truncate=read.flag("truncate", True),
        **{key: read.number(key, 1.0) for key in ROPE_NUMBERS if given.get(key)},
    )


def _reach(rope: Rope, max_positions: int) -> int:
    """Positions that the model can use: YaRN configs often give the length before scaling."""
    scaled = int(rope.original_max_positions * rope.factor) if rope.kind == "yarn" else 0
    return max(max_positions, scaled)


def _experts(config: Mapping[str, Any], num_layers: int) -> Experts:
    read = FieldReader(config)
    every, dense = read.integer("decoder_sparse_step", 1), read.items("mlp_only_layers")
    num_experts = read.integer("num_experts", config.get("num_local_experts") or 128)
    top_k = read.integer("num_experts_per_tok", 8)
    if top_k > num_experts:
        raise CheckpointError(f"config.json: num_experts_per_tok = {top_k} of {num_experts} experts")
    return Experts(
        num_experts=num_experts,
        top_k=top_k,
        intermediate_size=read.integer("moe_intermediate_size", 768),
        normalize=read.flag("norm_topk_prob"),
        layers=frozenset(i for i in range(num_layers) if i not in dense and (i + 1) % every == 0),
    )


def _token_ids(value: Any) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token_id, int) and token_id >= 0 for token_id in ids):
        raise CheckpointError(f"config.json: {value!r} is no token id")
    return tuple(ids)
