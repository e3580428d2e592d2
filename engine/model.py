"""The decoder: one forward pass over the new tokens of a whole batch, operation by operation.

Legend: T new tokens, R rows of logits, H hidden features, V vocabulary, N query heads, M KV heads, D head size.
Where the native library can run the whole stack in one call, it does; results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from espalier.engine.batch import Batch
from espalier.engine.config import Experts, ModelConfig
from espalier.engine.kv_pool import KVPool
from espalier.kernels.attention import paged_attention
from espalier.kernels.decoder import DecoderLayer, NativeDecoder, native_decoder
from espalier.kernels.kv_write import kv_write
from espalier.kernels.linear import Linear
from espalier.kernels.rms_norm import add_rms_norm, rms_norm
from espalier.kernels.rotary import rotary
from espalier.kernels.silu_mul import silu_mul

Mlp = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class DenseMlp:
    """Gated linear unit; gate and up are one matrix."""

    gate_up: Linear
    down: Linear

    def __call__(self, x_th: Tensor) -> Tensor:
        return self.down(silu_mul(self.gate_up(x_th)))


@dataclass(frozen=True, slots=True)
class ExpertsMlp:
    """Mixture of experts: each token goes through its `top_k` best, weighted by the router."""

    router: Linear
    experts: tuple[DenseMlp, ...]
    config: Experts

    def __call__(self, x_th: Tensor) -> Tensor:
        share = F.softmax(self.router(x_th).float(), dim=-1)
        weight_tk, expert_tk = share.topk(self.config.top_k, dim=-1)
        if self.config.normalize:
            weight_tk = weight_tk / weight_tk.sum(-1, keepdim=True)
        out = torch.zeros_like(x_th)
        # Experts in rising order: a token's sum has one order whatever shares the batch.
        for index in expert_tk.unique().tolist():
            token, place = (expert_tk == index).nonzero(as_tuple=True)
            mixed = self.experts[index](x_th[token]) * weight_tk[token, place].unsqueeze(1).to(x_th.dtype)
            out[token] += mixed
        return out


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and MLP of one layer, each behind its norm."""

    input_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Linear
    post_norm: Tensor
    mlp: Mlp
    window: int | None


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights of a model, packed. `embedding` [V, H] may be a view of the file."""

    embedding: Tensor
    layers: tuple[Layer, ...]
    final_norm: Tensor
    head: Linear
    rotary_table: Tensor


class CausalLM:
    """A decoder with its weights on one device; `dtype` is that of activations."""

    def __init__(self, config: ModelConfig, weights: Weights, *, dtype: torch.dtype, exact: bool) -> None:
        self.config, self.weights, self.dtype, self.exact = config, weights, dtype, exact
        self._native = self._find_native()

    def _find_native(self) -> NativeDecoder | None:
        layers: list[DecoderLayer] = []
        for layer in self.weights.layers:
            if not isinstance(layer.mlp, DenseMlp):
                return None
            layers.append(
                DecoderLayer(
                    layer.input_norm, layer.qkv, layer.q_norm, layer.k_norm, layer.o, layer.post_norm,
                    layer.mlp.gate_up, layer.mlp.down, layer.window,
                )
            )  # fmt: skip
        config = self.config
        return native_decoder(
            layers,
            self.weights.embedding,
            self.weights.final_norm,
            self.weights.head,
            self.weights.rotary_table,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            eps=config.rms_eps,
            exact=self.exact,
        )

    @torch.inference_mode()
    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Logits float32 [R, V] of `batch.logit_rows`; keys and values of all new tokens are written to the pool."""
        if self._native is not None:
            return self._native(batch, kv.storage_k, kv.storage_v)
        return self.head(self.hidden(batch, kv))

    @torch.inference_mode()
    def head(self, hidden_rh: Tensor) -> Tensor:
        """Logits float32 [R, V] of hidden states."""
        return self.weights.head(hidden_rh).float()

    @torch.inference_mode()
    def hidden(self, batch: Batch, kv: KVPool) -> Tensor:
        """What `head`, or `sparse_head` with the head's weights, makes logits of: the hidden states [R, H] of
        `batch.logit_rows` behind the final norm. Writes to the pool as `forward` does.
        """
        if self._native is not None:
            return self._native.hidden(batch, kv.storage_k, kv.storage_v)
        layers, eps = self.weights.layers, self.config.rms_eps
        # Each norm goes with the addition before it: the last addition of a layer with the first norm of the next one.
        next_norms = (*(layer.input_norm for layer in layers[1:]), self.weights.final_norm)
        residual = F.embedding(batch.token_ids, self.weights.embedding).to(self.dtype)
        x_th = rms_norm(residual, layers[0].input_norm, eps)
        last = len(layers) - 1
        for index, (layer, next_norm) in enumerate(zip(layers, next_norms, strict=True)):
            q, k, v = self._project(layer, x_th, batch.positions)
            kv_write(k, v, kv.k(index), kv.v(index), batch.out_slots)
            if index == last:
                # From here on a token concerns nobody but itself: go on with those whose logits are wanted.
                mixed = self._attend_last(layer, q, batch, kv, index)
                residual = residual[batch.logit_rows]
            else:
                mixed = self._attend(layer, q, batch, kv, index)
            x_th, residual = add_rms_norm(layer.o(mixed.flatten(1)), residual, layer.post_norm, eps)
            x_th, residual = add_rms_norm(layer.mlp(x_th), residual, next_norm, eps)
        return x_th

    def _project(self, layer: Layer, x_th: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of normed hidden states, rotated to their positions."""
        config = self.config
        fused = layer.qkv(x_th)
        heads = fused.view(len(x_th), config.num_heads + 2 * config.num_kv_heads, config.head_dim)
        q, k, v = heads.split([config.num_heads, config.num_kv_heads, config.num_kv_heads], dim=1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = rms_norm(q, layer.q_norm, config.rms_eps), rms_norm(k, layer.k_norm, config.rms_eps)
        table = self.weights.rotary_table
        return rotary(q, table, positions), rotary(k, table, positions), v

    def _attend(self, layer: Layer, q_tnd: Tensor, batch: Batch, kv: KVPool, index: int) -> Tensor:
        return paged_attention(
            q_tnd,
            kv.k(index),
            kv.v(index),
            batch.slot_table,
            batch.rows,
            batch.query_start,
            batch.context_len,
            scale=self.config.head_dim**-0.5,
            window=layer.window,
            exact=self.exact,
        )

    def _attend_last(self, layer: Layer, q_tnd: Tensor, batch: Batch, kv: KVPool, index: int) -> Tensor:
        """Attention [R, N, D] of the tokens whose logits are wanted."""
        rows = batch.logit_rows
        if len(rows) == len(q_tnd):
            return self._attend(layer, q_tnd, batch, kv, index)
        if not batch.are_last:
            # Attention takes a sequence's last tokens, and here others may be wanted too.
            return self._attend(layer, q_tnd, batch, kv, index)[rows]
        sequence = torch.searchsorted(batch.query_start[1:].long(), rows, right=True)
        few = replace(
            batch,
            query_start=torch.arange(len(rows) + 1, dtype=torch.int32, device=rows.device),
            context_len=batch.context_len[sequence],
            rows=batch.rows[sequence],
        )
        return self._attend(layer, q_tnd[rows], few, kv, index)
