"""The bundled model as a trainable network: Qwen3's shape (grouped heads, norms on queries and keys, tied embedding).

Parameter names are those of Hugging Face's Qwen3 checkpoints, so that the state dict is the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    vocab_size: int = 3072
    hidden_size: int = 256
    num_hidden_layers: int = 9
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    intermediate_size: int = 640
    rms_norm_eps: float = 1e-6
    rope_theta: float = 100000.0
    max_position_embeddings: int = 8192

    def to_hf(self, end_token_ids: list[int]) -> dict[str, Any]:
        """config.json of the checkpoint."""
        return asdict(self) | {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "sliding_window": None,
            "initializer_range": 0.02,
            "use_cache": True,
            "eos_token_id": end_token_ids[0],
            "bos_token_id": None,
            "torch_dtype": "bfloat16",
        }


def _rotate(x_bhtd: Tensor, cos_td: Tensor, sin_td: Tensor) -> Tensor:
    first, second = x_bhtd.chunk(2, dim=-1)
    return x_bhtd * cos_td + torch.cat((-second, first), dim=-1) * sin_td


class Attention(nn.Module):
    """Causal grouped-query attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        h, d = shape.hidden_size, shape.head_dim
        self.q_proj = nn.Linear(h, shape.num_attention_heads * d, bias=False)
        self.k_proj = nn.Linear(h, shape.num_key_value_heads * d, bias=False)
        self.v_proj = nn.Linear(h, shape.num_key_value_heads * d, bias=False)
        self.o_proj = nn.Linear(shape.num_attention_heads * d, h, bias=False)
        self.q_norm = nn.RMSNorm(d, eps=shape.rms_norm_eps)
        self.k_norm = nn.RMSNorm(d, eps=shape.rms_norm_eps)

    def forward(self, x_bth: Tensor, cos_td: Tensor, sin_td: Tensor) -> Tensor:
        b, t, _ = x_bth.shape
        heads = (b, t, -1, self.shape.head_dim)
        q = self.q_norm(self.q_proj(x_bth).view(heads)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x_bth).view(heads)).transpose(1, 2)
        v = self.v_proj(x_bth).view(heads).transpose(1, 2)
        q, k = _rotate(q, cos_td, sin_td).to(v.dtype), _rotate(k, cos_td, sin_td).to(v.dtype)
        repeat = self.shape.num_attention_heads // self.shape.num_key_value_heads
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(b, t, -1))


class MLP(nn.Module):
    """Gated linear unit with SiLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x_bth: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_bth)) * self.up_proj(x_bth))


class Layer(nn.Module):
    """Attention and MLP, each behind its norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = MLP(shape)
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)

    def forward(self, x_bth: Tensor, cos_td: Tensor, sin_td: Tensor) -> Tensor:
        x_bth = x_bth + self.self_attn(self.input_layernorm(x_bth), cos_td, sin_td)
        return x_bth + self.mlp(self.post_attention_layernorm(x_bth))


class Decoder(nn.Module):
    """Embedding, layers, last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)


class Network(nn.Module):
    """The whole model; its state dict has the names of a Qwen3 checkpoint."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.layers: Sequence[Callable[[Tensor, Tensor, Tensor], Tensor]] = list(self.model.layers)
        """What `forward` calls layer by layer: the layers, or what a compiler made of them."""
        self._draw()

    def _draw(self) -> None:
        """Starting values: matrices by their width, those that write to the residual stream smaller with depth."""
        depth = (2 * self.shape.num_hidden_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if "embed" in name:
                nn.init.normal_(parameter, std=0.5 * self.shape.hidden_size**-0.5)
            elif parameter.ndim == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=(depth if writes else 1.0) * parameter.shape[1] ** -0.5)
            elif name.endswith(("q_norm.weight", "k_norm.weight")):
                # The norms bound attention's logits by gain^2 * sqrt(head_dim). To copy, a head must look at one token
                # among hundreds, and gains that start at 1 take thousands of steps to allow it.
                nn.init.constant_(parameter, 2.0)

    def forward(self, token_ids_bt: Tensor, wanted_n: Tensor | None = None) -> Tensor:
        """Logits of each next token: [B, T, V], or [N, V] for the N positions of the flat [B*T] that are `wanted`."""
        shape, t = self.shape, token_ids_bt.shape[1]
        frequency = shape.rope_theta ** (
            -torch.arange(0, shape.head_dim, 2, device=token_ids_bt.device) / shape.head_dim
        )
        angle = torch.outer(torch.arange(t, device=token_ids_bt.device).float(), frequency).repeat(1, 2)
        cos, sin = angle.cos(), angle.sin()
        x = self.model.embed_tokens(token_ids_bt)
        for layer in self.layers:
            x = layer(x, cos, sin)
        x = self.model.norm(x if wanted_n is None else x.flatten(0, 1).index_select(0, wanted_n))
        return F.linear(x, self.model.embed_tokens.weight)
