"""From a checkpoint's tensors to packed weights: which are fused, by a table, and where each belongs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import ModelConfig
from espalier.engine.errors import CheckpointError
from espalier.engine.model import CausalLM, DenseMlp, ExpertsMlp, Layer, Mlp, Weights
from espalier.engine.rope import rotary_table
from espalier.kernels.linear import Linear, WeightFormat, pack_linear

# Fused matrix: its parts, top to bottom.
FUSED: dict[str, tuple[str, ...]] = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "gate_up": ("gate_proj", "up_proj"),
}
# Tensors that checkpoints carry and nobody needs.
IGNORED_SUFFIXES = ("rotary_emb.inv_freq",)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how weights are kept."""

    device: str
    dtype: torch.dtype
    weight_format: WeightFormat
    exact: bool = False


class WeightLoader:
    """Reads and packs tensors, and knows at the end which were never asked for."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, placement: Placement) -> None:
        self.checkpoint, self.config, self.placement = checkpoint, config, placement
        self.seen: set[str] = set()

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A tensor in its file's dtype."""
        self.seen.add(name)
        return self.checkpoint.tensor(name, shape)

    def vector(self, name: str, size: int) -> Tensor:
        """A norm's weight or a bias, converted."""
        return self.tensor(name, size).to(self.placement.device, self.placement.dtype)

    def linear(self, names: tuple[str, ...], out_sizes: tuple[int, ...], in_size: int, bias: bool) -> Linear:
        """Matrices one above the other, packed as one."""
        parts = [self.tensor(f"{name}.weight", size, in_size) for name, size in zip(names, out_sizes, strict=True)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        biases = [self.tensor(f"{name}.bias", size) for name, size in zip(names, out_sizes, strict=True) if bias]
        return self.pack(whole, torch.cat(biases) if biases else None)

    def pack(self, weight: Tensor, bias: Tensor | None = None) -> Linear:
        """Pack a matrix as the placement says."""
        place = self.placement
        bias = None if bias is None else bias.to(place.device, place.dtype)
        return pack_linear(weight.to(place.device), bias, place.weight_format, exact=place.exact)

    def dense(self, prefix: str, intermediate: int, bias: bool) -> DenseMlp:
        """A gated linear unit."""
        hidden = self.config.hidden_size
        gate_up = tuple(prefix + name for name in FUSED["gate_up"])
        return DenseMlp(
            gate_up=self.linear(gate_up, (intermediate, intermediate), hidden, bias),
            down=self.linear((prefix + "down_proj",), (hidden,), intermediate, bias),
        )

    def mlp(self, index: int, prefix: str) -> Mlp:
        """The layer's MLP: one, or many behind a router."""
        experts = self.config.experts
        if experts is None or index not in experts.layers:
            return self.dense(prefix + "mlp.", self.config.intermediate_size, self.config.mlp_bias)
        router = self.linear((prefix + "mlp.gate",), (experts.num_experts,), self.config.hidden_size, False)
        each = (self.dense(f"{prefix}mlp.experts.{e}.", experts.intermediate_size, False) for e in range(experts.num_experts))
        return ExpertsMlp(router, tuple(each), experts)

    def layer(self, index: int) -> Layer:
        """One layer."""
        config, prefix = self.config, f"model.layers.{index}."
        q_size, kv_size = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        qkv = tuple(prefix + name for name in FUSED["self_attn.qkv"])
        norms = [
            self.vector(f"{prefix}self_attn.{name}.weight", config.head_dim) if config.qk_norm else None
            for name in ("q_norm", "k_norm")
        ]
        return Layer(
            input_norm=self.vector(prefix + "input_layernorm.weight", config.hidden_size),
            qkv=self.linear(qkv, (q_size, kv_size, kv_size), config.hidden_size, config.qkv_bias),
            q_norm=norms[0],
            k_norm=norms[1],
            o=self.linear((prefix + "self_attn.o_proj",), (config.hidden_size,), q_size, config.o_bias),
            post_norm=self.vector(prefix + "post_attention_layernorm.weight", config.hidden_size),
            mlp=self.mlp(index, prefix),
            window=config.windows[index],
        )

    def check_all_used(self) -> None:
        """Raise CheckpointError if the checkpoint holds tensors that the architecture has no place for."""
        spare = {"lm_head.weight"} if self.config.tie_embeddings else set()
        left = [n for n in self.checkpoint if n not in self.seen | spare and not n.endswith(IGNORED_SUFFIXES)]
        if left:
            raise CheckpointError(f"{self.config.architecture} has no place for {len(left)} tensors, first {sorted(left)[0]!r}")


def load_model(checkpoint: Checkpoint, config: ModelConfig, placement: Placement, num_positions: int) -> CausalLM:
    """The model of a checkpoint, ready for prompts and answers of up to `num_positions` tokens together."""
    loader = WeightLoader(checkpoint, config, placement)
    shape = (config.vocab_size, config.hidden_size)
    embedding = loader.tensor("model.embed_tokens.weight", *shape)
    head = embedding if config.tie_embeddings else loader.tensor("lm_head.weight", *shape)
    weights = Weights(
        # Rows are converted as they are looked up: the whole stays a view of the file.
        embedding=embedding.to(placement.device),
        layers=tuple(loader.layer(index) for index in range(config.num_layers)),
        final_norm=loader.vector("model.norm.weight", config.hidden_size),
        head=loader.pack(head),
        rotary_table=rotary_table(config.rope, config.head_dim, num_positions).to(placement.device),
    )
    loader.check_all_used()
    return CausalLM(config, weights, dtype=placement.dtype, exact=placement.exact)
