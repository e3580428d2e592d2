"""From a checkpoint's tensors to packed weights: which are fused, by a table, and where each belongs.

Nothing is held twice: a matrix is read from its mapped file, packed, and its pages of the file are given back before
the next one. Only the embedding stays a view of the file, whose rows are converted as they are looked up.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import ModelConfig
from espalier.engine.errors import CheckpointError
from espalier.engine.model import CausalLM, DenseMlp, ExpertsMlp, Layer, Mlp, Weights
from espalier.engine.rope import rotary_table
from espalier.engine.tensor_table import EMBEDDING, FINAL_NORM, HEAD, layer_prefix, tensor_shapes
from espalier.kernels.linear import Linear, WeightFormat, pack_linear

# Fused matrix: its parts, top to bottom.
FUSED: dict[str, tuple[str, ...]] = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "gate_up": ("gate_proj", "up_proj"),
}
# Tensors that checkpoints carry and nobody needs.
IGNORED_SUFFIXES = ("rotary_emb.inv_freq",)
NAMED = 3
"""How many tensors a message names before it only counts."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how weights are kept."""

    device: str
    dtype: torch.dtype
    weight_format: WeightFormat
    exact: bool = False

    @property
    def float_format(self) -> WeightFormat:
        """The format of activations, for what is too small or too delicate to quantize."""
        return cast(WeightFormat, str(self.dtype).removeprefix("torch."))


def load_model(checkpoint: Checkpoint, config: ModelConfig, placement: Placement, num_positions: int) -> CausalLM:
    """The model of a checkpoint, ready for prompts and answers of up to `num_positions` tokens together.

    Raises CheckpointError if the tensors are not those of the architecture, before any is read.
    """
    check_tensors(checkpoint, config)
    loader = _Loader(checkpoint, config, placement)
    embedding = checkpoint.tensor(EMBEDDING)
    weights = Weights(
        embedding=embedding.to(placement.device),
        layers=tuple(loader.layer(index) for index in range(config.num_layers)),
        final_norm=loader.vector(FINAL_NORM),
        head=loader.pack([EMBEDDING if config.tie_embeddings else HEAD]),
        rotary_table=rotary_table(config.rope, config.head_dim, num_positions).to(placement.device),
    )
    return CausalLM(config, weights, dtype=placement.dtype, exact=placement.exact)


def check_tensors(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Compare names and shapes with those of the architecture. Raises CheckpointError naming what differs."""
    wanted = tensor_shapes(config)
    if missing := [name for name in wanted if name not in checkpoint]:
        raise CheckpointError(f"the checkpoint has no tensor {_named(missing)}, which {config.architecture} needs")
    spare = {HEAD} if config.tie_embeddings else set()
    unknown = [n for n in checkpoint if n not in wanted and n not in spare and not n.endswith(IGNORED_SUFFIXES)]
    if unknown:
        raise CheckpointError(f"{config.architecture} with this config.json has no place for tensor {_named(unknown)}")
    for name, shape in wanted.items():
        if (found := checkpoint.shape(name)) != shape:
            raise CheckpointError(f"tensor {name!r} has shape {list(found)}, config.json asks for {list(shape)}")


def _named(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(map(repr, sorted(names)[:NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _trim_heap() -> None:
    """Give freed memory back to the system: between packed matrices lie holes that copies in between have left."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)


class _Loader:
    """Reads and packs the tensors of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, placement: Placement) -> None:
        self.checkpoint, self.config, self.place = checkpoint, config, placement

    def vector(self, name: str) -> Tensor:
        """A norm's weight or a bias, converted; never a view of the file."""
        return self.checkpoint.tensor(name).to(self.place.device, self.place.dtype, copy=True)

    def pack(self, names: list[str], bias_names: list[str] | None = None, fmt: WeightFormat | None = None) -> Linear:
        """Matrices one above the other, packed as one."""
        biases = [self.vector(name) for name in bias_names or ()]
        bias = torch.cat(biases) if biases else None
        packed = pack_linear(self._stack(names), bias, fmt or self.place.weight_format, exact=self.place.exact)
        for name in names:
            self.checkpoint.release(name)
        return packed

    def _stack(self, names: list[str]) -> Tensor:
        parts = [self.checkpoint.tensor(name) for name in names]
        if len(parts) == 1:
            return parts[0].to(self.place.device)
        rows = sum(len(part) for part in parts)
        # Quantizing converts by itself; what is kept as floats is converted while it is copied, once.
        quantized = self.place.weight_format == "int8"
        dtype = parts[0].dtype if quantized else getattr(torch, self.place.weight_format)
        whole = torch.empty(rows, parts[0].shape[1], dtype=dtype, device=self.place.device)
        for part, target in zip(parts, whole.split([len(part) for part in parts]), strict=True):
            target.copy_(part)
        return whole

    def linear(self, names: tuple[str, ...], bias: bool) -> Linear:
        """Linear layers, fused."""
        return self.pack([f"{name}.weight" for name in names], [f"{name}.bias" for name in names if bias])

    def gated(self, prefix: str, bias: bool) -> DenseMlp:
        """A gated linear unit."""
        gate_up = tuple(prefix + name for name in FUSED["gate_up"])
        return DenseMlp(gate_up=self.linear(gate_up, bias), down=self.linear((prefix + "down_proj",), bias))

    def mlp(self, index: int) -> Mlp:
        """The layer's MLP: one, or many behind a router."""
        experts, prefix = self.config.experts, layer_prefix(index) + "mlp."
        if experts is None or index not in experts.layers:
            return self.gated(prefix, self.config.mlp_bias)
        router = self.pack([prefix + "gate.weight"], fmt=self.place.float_format)
        each = tuple(self.gated(f"{prefix}experts.{expert}.", False) for expert in range(experts.num_experts))
        return ExpertsMlp(router, each, experts)

    def layer(self, index: int) -> Layer:
        """One layer."""
        config, prefix = self.config, layer_prefix(index)
        norms = [
            self.vector(f"{prefix}self_attn.{name}.weight") if config.qk_norm else None for name in ("q_norm", "k_norm")
        ]
        layer = Layer(
            input_norm=self.vector(prefix + "input_layernorm.weight"),
            qkv=self.linear(tuple(prefix + name for name in FUSED["self_attn.qkv"]), config.qkv_bias),
            q_norm=norms[0],
            k_norm=norms[1],
            o=self.linear((prefix + "self_attn.o_proj",), config.o_bias),
            post_norm=self.vector(prefix + "post_attention_layernorm.weight"),
            mlp=self.mlp(index),
            window=config.windows[index],
        )
        _trim_heap()
        return layer
