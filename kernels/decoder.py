"""The dense decoder stack in one native call: embedding, all layers, final norm and logits.

Legend: T new tokens, R rows of logits, H hidden features, V vocabulary, P positions, N query heads, M KV heads,
D head size, L layers, S slots. With `exact` results don't depend on what shares the step, to the bit.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from espalier.kernels import native
from espalier.kernels.errors import KernelError
from espalier.kernels.huge_pages import use_huge_pages
from espalier.kernels.linear import Linear
from espalier.kernels.packed_linear import PackedLinear, gather


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """Weights of one layer. `qkv` has the queries' outputs first, then keys, then values; `gate_up` has gate first."""

    input_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Linear
    post_norm: Tensor
    gate_up: Linear
    down: Linear
    window: int | None


class StepTensors(Protocol):
    """The new tokens of one step. Sequence b owns the tokens [query_start[b], query_start[b+1]); see attention.py."""

    @property
    def token_ids(self) -> Tensor:
        """int64 [T]."""

    @property
    def positions(self) -> Tensor:
        """int64 [T]."""

    @property
    def out_slots(self) -> Tensor:
        """int64 [T]: where each token's keys and values go."""

    @property
    def query_start(self) -> Tensor:
        """int32 [B+1]."""

    @property
    def context_len(self) -> Tensor:
        """int32 [B], new tokens included."""

    @property
    def rows(self) -> Tensor:
        """int32 [B], rows of the slot table."""

    @property
    def slot_table(self) -> Tensor:
        """int32 [rows, positions]."""

    @property
    def logit_rows(self) -> Tensor:
        """int64 [R], rising indices into T."""


class NativeDecoder:
    """The packed stack. One call at a time: its working memory is kept from call to call."""

    def __init__(self, library: native.Library, model: native.Model, *keep: object) -> None:
        """`model` points into the tensors of `keep`, which stay alive as long as the decoder."""
        self._library, self._model, self._keep = library, model, keep
        self._advised: int | None = None
        self._handle = library.decoder_new(ctypes.byref(model))
        weakref.finalize(self, library.decoder_free, self._handle)

    def __call__(self, step: StepTensors, k_lmsd: Tensor, v_lmsd: Tensor) -> Tensor:
        """Logits float32 [R, V]; keys and values of all T tokens are written to the pools [L, M, S, D].

        Raises KernelError for a token, position or slot that does not exist.
        """
        logits_rv = torch.empty(step.logit_rows.shape[0], self._model.head.outputs)
        self._run(step, k_lmsd, v_lmsd, logits=logits_rv)
        return logits_rv

    def hidden(self, step: StepTensors, k_lmsd: Tensor, v_lmsd: Tensor) -> Tensor:
        """Instead of logits what the head makes them of: hidden states float32 [R, H] behind the final norm."""
        hidden_rh = torch.empty(step.logit_rows.shape[0], self._model.head.inputs)
        self._run(step, k_lmsd, v_lmsd, hidden=hidden_rh)
        return hidden_rh

    def _run(
        self,
        step: StepTensors,
        k_lmsd: Tensor,
        v_lmsd: Tensor,
        logits: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> None:
        """Runs the stack up to the one of the two that is given."""
        pool, layer_stride = self._pool(k_lmsd, v_lmsd)
        _check_step(step)
        num_tokens = step.token_ids.shape[0]  # `len` of a tensor takes ten times as long
        if num_tokens == 0:
            return
        call = native.Step(
            token_ids=step.token_ids.data_ptr(),
            positions=step.positions.data_ptr(),
            out_slots=step.out_slots.data_ptr(),
            num_tokens=num_tokens,
            logit_rows=step.logit_rows.data_ptr(),
            num_logits=step.logit_rows.shape[0],
            sequences=native.sequences(step.slot_table, step.rows, step.query_start, step.context_len),
            pool=pool,
            layer_stride=layer_stride,
            logits=native.pointer(logits),
            hidden=native.pointer(hidden),
        )
        native.check(self._library.decoder_run(self._handle, ctypes.byref(call), torch.get_num_threads()))

    def _pool(self, k_lmsd: Tensor, v_lmsd: Tensor) -> tuple[native.Pool, int]:
        model = self._model
        if k_lmsd.ndim != 4 or k_lmsd.shape[::3] != (model.num_layers, model.head_size):
            raise KernelError(
                f"k pool has shape {tuple(k_lmsd.shape)}, "
                f"[{model.num_layers}, heads, slots, {model.head_size}] is needed"
            )
        if k_lmsd.shape[1] != model.num_kv_heads:
            raise KernelError(f"k pool has {k_lmsd.shape[1]} heads, the model {model.num_kv_heads}")
        if self._advised != k_lmsd.data_ptr():
            # Once for each pool, in practice before its first use.
            self._advised = k_lmsd.data_ptr()
            use_huge_pages(k_lmsd)
            use_huge_pages(v_lmsd)
        return native.pool(k_lmsd[0].transpose(0, 1), v_lmsd[0].transpose(0, 1)), k_lmsd.stride(0)


def native_decoder(
    layers: Sequence[DecoderLayer],
    embedding_vh: Tensor,
    final_norm_h: Tensor,
    head: Linear,
    cos_sin_pd: Tensor,
    *,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float,
    exact: bool,
) -> NativeDecoder | None:
    """The stack as one native call, or None where that is not possible: then the caller goes operation by operation.

    It takes packed float32 or int8 matrices, float32 norms and table, and an embedding of any float type, which may be
    a view of a file.
    """
    library = native.library()
    if library is None or not layers or head_dim > native.MAX_HEAD_DIM or num_heads > native.MAX_GROUP * num_kv_heads:
        return None
    if embedding_vh.dtype not in native.ELEMENT_TYPES or not native.is_plain(final_norm_h, cos_sin_pd):
        return None
    linears = [linear for layer in layers for linear in (layer.qkv, layer.o, layer.gate_up, layer.down)]
    packed = [linear for linear in (*linears, head) if isinstance(linear, PackedLinear)]
    if len(packed) != len(linears) + 1 or not all(_has_plain_norms(layer) for layer in layers):
        return None
    for layer in layers:
        _check_sizes(layer, embedding_vh.shape[1], num_heads, num_kv_heads, head_dim)
    gather(packed)
    embedding_vh, final_norm_h, cos_sin_pd = (x.contiguous() for x in (embedding_vh, final_norm_h, cos_sin_pd))
    matrices = [linear.matrix for linear in packed]
    native_layers = [_layer(layer, matrices[4 * i : 4 * i + 4]) for i, layer in enumerate(layers)]
    model = native.Model(
        layers=(native.Layer * len(native_layers))(*native_layers),
        num_layers=len(native_layers),
        head=matrices[-1],
        embedding=embedding_vh.data_ptr(),
        final_norm=final_norm_h.data_ptr(),
        cos_sin=cos_sin_pd.data_ptr(),
        num_positions=len(cos_sin_pd),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_size=head_dim,
        vocabulary=len(embedding_vh),
        embedding_type=native.ELEMENT_TYPES[embedding_vh.dtype],
        eps=eps,
        scale=head_dim**-0.5,
        exact=exact,
    )
    return NativeDecoder(library, model, (tuple(layers), head), embedding_vh, final_norm_h, cos_sin_pd)


def _has_plain_norms(layer: DecoderLayer) -> bool:
    norms = [layer.input_norm, layer.post_norm, *(x for x in (layer.q_norm, layer.k_norm) if x is not None)]
    return native.is_plain(*norms) and all(norm.is_contiguous() for norm in norms)


def _check_sizes(layer: DecoderLayer, hidden: int, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
    """Raise KernelError unless the layer's matrices fit together: nothing below checks them again."""
    inner = layer.down.in_features
    expected = {
        "qkv": (layer.qkv, (num_heads + 2 * num_kv_heads) * head_dim, hidden),
        "o": (layer.o, hidden, num_heads * head_dim),
        "gate_up": (layer.gate_up, 2 * inner, hidden),
        "down": (layer.down, hidden, inner),
    }
    for name, (linear, out_features, in_features) in expected.items():
        if (linear.out_features, linear.in_features) != (out_features, in_features):
            came = f"[{linear.out_features}, {linear.in_features}]"
            raise KernelError(f"{name} is {came}, [{out_features}, {in_features}] is needed")


def _layer(layer: DecoderLayer, matrices: Sequence[native.Matrix]) -> native.Layer:
    return native.Layer(
        *matrices,
        layer.input_norm.data_ptr(),
        layer.post_norm.data_ptr(),
        native.pointer(layer.q_norm),
        native.pointer(layer.k_norm),
        layer.window or 0,
    )


# Name, dtype.
STEP_TENSORS = (
    ("token_ids", torch.int64),
    ("positions", torch.int64),
    ("out_slots", torch.int64),
    ("logit_rows", torch.int64),
)


def _check_step(step: StepTensors) -> None:
    for name, dtype in STEP_TENSORS:
        native.check_index(name, getattr(step, name), dtype)
    if not step.token_ids.shape == step.positions.shape == step.out_slots.shape:
        raise KernelError(
            f"token_ids, positions and out_slots have {len(step.token_ids)}, {len(step.positions)} "
            f"and {len(step.out_slots)} entries, as many of each are needed"
        )
