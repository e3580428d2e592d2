"""Which tensors an architecture's checkpoint holds, and their shapes. Knows no file and no device."""

from __future__ import annotations

from collections.abc import Iterator

from espalier.engine.config import ModelConfig

Shape = tuple[int, ...]

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"


def layer_prefix(layer: int) -> str:
    """What the names of a layer's tensors begin with."""
    return f"model.layers.{layer}."


def tensor_shapes(config: ModelConfig) -> dict[str, Shape]:
    """All tensors of a checkpoint by name. A tied output matrix is not among them."""
    shapes = {
        EMBEDDING: (config.vocab_size, config.hidden_size),
        FINAL_NORM: (config.hidden_size,),
    }
    if not config.tie_embeddings:
        shapes[HEAD] = (config.vocab_size, config.hidden_size)
    for layer in range(config.num_layers):
        prefix = layer_prefix(layer)
        shapes |= {prefix + name: shape for name, shape in (*_attention(config), *_mlp(config, layer))}
    return shapes


def _linear(name: str, out_size: int, in_size: int, bias: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out_size, in_size)
    if bias:
        yield f"{name}.bias", (out_size,)


def _attention(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    hidden, q, kv = config.hidden_size, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    for name, size in (("q_proj", q), ("k_proj", kv), ("v_proj", kv)):
        yield from _linear(f"self_attn.{name}", size, hidden, config.qkv_bias)
    yield from _linear("self_attn.o_proj", hidden, q, config.o_bias)
    if config.qk_norm:
        yield "self_attn.q_norm.weight", (config.head_dim,)
        yield "self_attn.k_norm.weight", (config.head_dim,)


def _mlp(config: ModelConfig, layer: int) -> Iterator[tuple[str, Shape]]:
    experts = config.experts
    if experts is None or layer not in experts.layers:
        yield from _gated("mlp.", config.hidden_size, config.intermediate_size, config.mlp_bias)
        return
    yield "mlp.gate.weight", (experts.num_experts, config.hidden_size)
    for expert in range(experts.num_experts):
        yield from _gated(f"mlp.experts.{expert}.", config.hidden_size, experts.intermediate_size, False)


def _gated(prefix: str, hidden: int, intermediate: int, bias: bool) -> Iterator[tuple[str, Shape]]:
    yield from _linear(prefix + "gate_proj", intermediate, hidden, bias)
    yield from _linear(prefix + "up_proj", intermediate, hidden, bias)
    yield from _linear(prefix + "down_proj", hidden, intermediate, bias)
