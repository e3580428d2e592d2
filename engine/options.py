"""What can be chosen about an engine: one frozen dataclass, from which flags, environment and TOML options are made.

Imports nothing heavy: the gateway reads it too. Each field's `help` is what `espalier serve --help` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Admission = Literal["worst_case", "preempt"]
Batching = Literal["continuous", "static"]
Eviction = Literal["value", "lru"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
WeightFormat = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Device = Literal["auto", "cpu", "cuda"]

BUNDLED_MODEL = "bundled"


def option(default: Any, text: str) -> Any:
    """A dataclass field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options of one engine. Sizes are in tokens unless the name ends in a unit."""

    model: str = option(BUNDLED_MODEL, "a checkpoint folder, a hub id, or 'bundled'")
    revision: str | None = option(None, "the hub revision (branch, tag or commit)")
    device: Device = option("auto", "where the model runs; auto takes a GPU if there is one")
    dtype: DType = option("auto", "activations; auto is float32 on the CPU, the checkpoint's own on a GPU")
    weights: WeightFormat = option("auto", "weight format; auto is the dtype's own, int8 is for the CPU")
    kv_dtype: DType = option("auto", "keys and values; auto is float16 beside int8 weights, else the dtype's own")
    max_context: int | None = option(None, "longest prompt and answer together; default the model's own")
    max_running: int = option(256, "most requests decoded in one step")
    step_tokens: int | None = option(None, "token budget of a step; default 128 on the CPU, 4096 on a GPU")
    kv_memory_bytes: int | None = option(None, "bytes of the KV pool; default kv_memory_share of what is free")
    kv_memory_share: float = option(0.5, "share of the free memory that the KV pool takes")
    admission: Admission = option("preempt", "worst_case admits when the longest answer fits; preempt recomputes")
    batching: Batching = option("continuous", "static starts a batch only when the last one has ended (for comparison)")
    prefix_cache: bool = option(True, "share computed prefixes between requests")
    eviction: Eviction = option("value", "what goes first: least worth by recency and cost, or least recently used")
    lease_share: float = option(0.95, "share of the KV pool that sessions may hold while their tools run; 0 for none")
    tenant_lease_share: float | None = option(None, "the same for each tenant; default lease_share")
    lease_patience_s: float = option(90.0, "seconds that a request waits for room before sessions give theirs up")
    kv_host_bytes: int = option(0, "bytes of host memory for the state of sessions that the device has no room for")
    kv_disk_bytes: int = option(0, "bytes on disk for the state of sessions, which a restart finds again")
    kv_folder: str | None = option(
        None, "folder of the files of kv_disk_bytes; one engine uses it; default kv in the data directory"
    )
    jump_forward: bool = option(True, "append what a grammar forces without a decode step for each token")
    drafts: bool = option(True, "on the CPU, compute forced text before its tokens are certain, and keep what is drawn")
    sparse_head: bool = option(True, "compute only the logits that a grammar allows, where that is faster")
    mask_cache: bool = option(True, "keep the token masks of a grammar's states")
    grammar_memory_bytes: int = option(256 * 2**20, "bytes of compiled grammars that are kept")
    cuda_graphs: bool = option(True, "on a GPU, record the steps of few tokens once and replay them")
    exact: bool = option(False, "results that don't depend on what shares the batch")
    threads: int | None = option(None, "CPU threads; default the number of cores")
    max_waiting: int = option(4096, "most requests that wait for admission; more are refused")
