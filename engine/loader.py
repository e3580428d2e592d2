"""From options to a loaded model: resolves what 'auto' means on this machine, and what fits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from espalier.engine.checkpoint import Checkpoint, locate
from espalier.engine.config import ModelConfig, read_config
from espalier.engine.errors import EngineError, UnsupportedModelError
from espalier.engine.fit import Fit, fit, free_memory_bytes
from espalier.engine.kv_pool import KVPool
from espalier.engine.model import CausalLM
from espalier.engine.options import EngineOptions
from espalier.engine.tokenizer import Tokenizer
from espalier.engine.weights import Placement, load_model
from espalier.kernels.linear import WeightFormat

DTypeName = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its memory and its tokenizer."""

    model: CausalLM
    kv: KVPool
    tokenizer: Tokenizer
    fit: Fit
    device: str
    folder: Path


def load(options: EngineOptions) -> Loaded:
    """Load what the options name. Raises CheckpointError and DoesNotFitError before weights are read."""
    # Denormal numbers cost a hundred times as much as others, and mean nothing here.
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    device = _device(options)
    folder = locate(options.model, options.revision)
    checkpoint = Checkpoint(folder)
    config = read_config(checkpoint.config)
    dtype = _dtype(options, config, device)
    weights: WeightFormat = dtype if options.weights == "auto" else options.weights
    if weights == "int8" and device != "cpu":
        raise UnsupportedModelError("--weights int8 is for the CPU; take bfloat16 or float16 on a GPU")
    if weights not in ("int8", dtype):
        raise UnsupportedModelError(f"--weights {weights} needs --dtype {weights}, which is {dtype}")
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else free_memory_bytes()
    kv_dtype = _kv_dtype(options, dtype, weights)
    sizes = fit(config, options, kv_dtype=kv_dtype, weights=weights, device=device, free_bytes=free)
    tokenizer = Tokenizer.load(folder)
    placement = Placement(device, getattr(torch, dtype), weights, options.exact)
    model = load_model(checkpoint, config, placement, sizes.max_context)
    kv = KVPool(config, sizes.num_slots, device=device, dtype=getattr(torch, kv_dtype))
    return Loaded(model, kv, tokenizer, sizes, device, folder)


def _device(options: EngineOptions) -> str:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("--device cuda: torch sees no GPU; use --device cpu")
    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return options.device


def _dtype(options: EngineOptions, config: ModelConfig, device: str) -> DTypeName:
    if options.dtype != "auto":
        return options.dtype
    # On CPUs products of half precision numbers are slower than those of float32, often by far.
    if device == "cpu":
        return "float32"
    if config.dtype not in ("float32", "bfloat16", "float16"):
        raise UnsupportedModelError(f"dtype {config.dtype!r} of the checkpoint is not implemented; give --dtype")
    return cast(DTypeName, config.dtype)


def _kv_dtype(options: EngineOptions, dtype: DTypeName, weights: WeightFormat) -> DTypeName:
    if options.kv_dtype != "auto":
        return options.kv_dtype
    # Who takes rounded weights for speed has no use for exact keys: decoding many requests is bound by reading them.
    return "float16" if weights == "int8" else dtype
