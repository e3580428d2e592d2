"""The native library: its C face, declared for ctypes, and the decision whether it is there.

Structures mirror those of `csrc/` field by field. Calls release Python's lock; pointers must outlive them.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Callable
from ctypes import POINTER, Structure, c_bool, c_float, c_int32, c_int64, c_void_p
from typing import Final

import torch
from torch import Tensor

from espalier.kernels.build import build_library
from espalier.kernels.errors import KernelError, NativeBuildError

logger = logging.getLogger(__name__)

FLOAT32: Final = 0
INT8: Final = 1
# What the tiles and the working memory of csrc/attention.cpp are made for.
MAX_HEAD_DIM: Final = 256
MAX_GROUP: Final = 64
# Element types of the KV pool and of the embedding.
ELEMENT_TYPES: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


class Matrix(Structure):
    """A packed weight matrix (linear.h)."""

    _fields_ = (
        ("format", c_int32),
        ("reserved", c_int32),
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("panels", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
    )


class Pool(Structure):
    """Keys and values of one layer (attention.h)."""

    _fields_ = (
        ("k", c_void_p),
        ("v", c_void_p),
        ("head_stride", c_int64),
        ("slot_stride", c_int64),
        ("num_slots", c_int64),
        ("type", c_int32),
        ("reserved", c_int32),
    )


class Sequences(Structure):
    """Whose tokens are new (attention.h)."""

    _fields_ = (
        ("slot_table", c_void_p),
        ("table_stride", c_int64),
        ("table_rows", c_int64),
        ("rows", c_void_p),
        ("query_start", c_void_p),
        ("context_len", c_void_p),
        ("count", c_int64),
    )


class Layer(Structure):
    """Weights of one layer (decoder.cpp)."""

    _fields_ = (
        ("qkv", Matrix),
        ("o", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
        ("window", c_int64),
    )


class Model(Structure):
    """Weights and sizes of the whole stack (decoder.cpp)."""

    _fields_ = (
        ("layers", POINTER(Layer)),
        ("num_layers", c_int64),
        ("head", Matrix),
        ("embedding", c_void_p),
        ("final_norm", c_void_p),
        ("cos_sin", c_void_p),
        ("num_positions", c_int64),
        ("num_heads", c_int64),
        ("num_kv_heads", c_int64),
        ("head_size", c_int64),
        ("vocabulary", c_int64),
        ("embedding_type", c_int32),
        ("eps", c_float),
        ("scale", c_float),
        ("exact", c_int32),
    )


class Step(Structure):
    """The new tokens of one step (decoder.cpp)."""

    _fields_ = (
        ("token_ids", c_void_p),
        ("positions", c_void_p),
        ("out_slots", c_void_p),
        ("num_tokens", c_int64),
        ("logit_rows", c_void_p),
        ("num_logits", c_int64),
        ("sequences", Sequences),
        ("pool", Pool),
        ("layer_stride", c_int64),
        ("logits", c_void_p),
        ("hidden", c_void_p),
    )


# Function: its result, then its arguments.
SIGNATURES: Final = {
    "layout": (None, c_int32, POINTER(c_int32)),
    "linear": (None, POINTER(Matrix), c_void_p, c_int64, c_void_p, c_int32),
    "sparse_head": (c_int32, POINTER(Matrix), c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p, c_int32),
    "rms_norm": (None, c_void_p, c_void_p, c_int64, c_int64, c_float, c_void_p, c_int32),
    "silu_mul": (None, c_void_p, c_int64, c_int64, c_void_p, c_int32),
    "sample": (None, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p,
               c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_int32),
    "rotary": (None, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_int32),
    "attention": (c_int32, POINTER(Sequences), POINTER(Pool), c_int64, c_int64, c_int64, c_void_p, c_int64, c_void_p,
                  c_float, c_int64, c_bool, c_int32),
    "decoder_new": (c_void_p, POINTER(Model)),
    "decoder_free": (None, c_void_p),
    "decoder_run": (c_int32, c_void_p, POINTER(Step), c_int32),
}  # fmt: skip


class Library:
    """The loaded library; its functions are attributes, without their prefix."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        self._loaded = loaded
        for name, (result, *arguments) in SIGNATURES.items():
            function = getattr(loaded, f"espalier_{name}")
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Callable[..., int]:
        function: Callable[..., int] = getattr(self._loaded, f"espalier_{name}")
        return function

    def layout_of(self, weight_format: int) -> tuple[int, int, int, int]:
        """Outputs of a panel, inputs of a lane, inputs of a group, and what is added to a weight."""
        numbers = (c_int32 * 4)()
        self.layout(weight_format, numbers)
        return (numbers[0], numbers[1], numbers[2], numbers[3])


@functools.cache
def library() -> Library | None:
    """The native library, built if need be; None where it is switched off or cannot be had, which is logged once."""
    if os.environ.get("ESPALIER_NATIVE") == "0":
        return None
    try:
        return Library(_load())
    except NativeBuildError as error:
        logger.warning("The native kernels are not available, torch does their work, slower: %s", error)
        return None


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(build_library()))
    except OSError as error:
        raise NativeBuildError(f"the built library does not load: {error}") from error


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a tensor's data."""
    return None if tensor is None else tensor.data_ptr()


def is_plain(*tensors: Tensor) -> bool:
    """True if all are float32 on the CPU, which is what the library takes."""
    return all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)


# What csrc/attention.h calls a Fault: the argument that points outside.
FAULTS: Final = {
    1: "query_start does not rise from 0 to the number of tokens",
    2: "rows has a row that the slot table has not",
    3: "context_len is less than a sequence's new tokens, or more than the slot table is wide",
    4: "slot_table has a slot that the pool has not, within a context",
    5: "token_ids has a token outside the vocabulary",
    6: "positions has one beyond the rotary table",
    7: "out_slots has a slot that the pool has not",
    8: "logit_rows are not rising indices of tokens",
    9: "start does not rise from 0 to at most the number of tokens",
    10: "token has one that the layer has no output for",
}


def check(fault: int) -> None:
    """Raise KernelError if a call found an argument wrong."""
    if fault:
        raise KernelError(FAULTS[fault])


def check_index(name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    """Raise KernelError unless `tensor` is a vector of `dtype`, contiguous, on the CPU."""
    if tensor.dtype != dtype or tensor.ndim != 1 or not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise KernelError(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, "
            f"a contiguous {dtype} vector on the CPU is needed"
        )


def sequences(slot_table: Tensor, rows: Tensor, query_start: Tensor, context_len: Tensor) -> Sequences:
    """The sequences of a step; int32, see attention.py. Raises KernelError."""
    check_index("rows", rows, torch.int32)
    check_index("query_start", query_start, torch.int32)
    check_index("context_len", context_len, torch.int32)
    if slot_table.dtype != torch.int32 or slot_table.ndim != 2 or not slot_table.is_contiguous():
        raise KernelError(
            f"slot_table is {slot_table.dtype} {tuple(slot_table.shape)}, contiguous int32 [rows, positions] is needed"
        )
    if len(query_start) != len(rows) + 1 or len(context_len) != len(rows):
        raise KernelError(
            f"{len(rows)} rows, {len(query_start)} query starts and {len(context_len)} context lengths "
            "do not go together"
        )
    return Sequences(
        slot_table=slot_table.data_ptr(),
        table_stride=slot_table.shape[1],
        table_rows=slot_table.shape[0],
        rows=rows.data_ptr(),
        query_start=query_start.data_ptr(),
        context_len=context_len.data_ptr(),
        count=len(rows),
    )


def pool(k_smd: Tensor, v_smd: Tensor) -> Pool:
    """The pools [S, M, D] of one layer, in any strides that both share, the last one 1. Raises KernelError."""
    k, v = ((tuple(x.shape), x.stride(), x.dtype, x.device.type) for x in (k_smd, v_smd))
    if k != v:
        raise KernelError(f"k pool and v pool differ in shape, strides, dtype or device: {k} and {v}")
    if k_smd.stride(2) != 1 or k_smd.dtype not in ELEMENT_TYPES or k_smd.device.type != "cpu":
        raise KernelError(f"the pools are {k}: floats on the CPU with a last stride of 1 are needed")
    return Pool(
        k=k_smd.data_ptr(),
        v=v_smd.data_ptr(),
        head_stride=k_smd.stride(1),
        slot_stride=k_smd.stride(0),
        num_slots=k_smd.shape[0],
        type=ELEMENT_TYPES[k_smd.dtype],
    )
