"""What fits: how many KV slots the memory holds, the table that says so, and by how much a model does not fit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from espalier.engine.config import ModelConfig
from espalier.engine.errors import DoesNotFitError
from espalier.engine.messages import FitRow
from espalier.engine.options import EngineOptions

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
CPU_DEFAULT_BYTES = 2 * 2**30
"""On the CPU memory is shared with everything else: without a size given, the pool stays below this."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Sizes of an engine; slots and contexts in tokens."""

    weight_bytes: int
    kv_bytes_per_token: int
    num_slots: int
    max_context: int
    max_running: int

    def rows(self) -> list[FitRow]:
        """The table, as text."""
        users = self.num_slots // self.max_context
        return [
            FitRow("weights", show_bytes(self.weight_bytes)),
            FitRow("KV of one token", show_bytes(self.kv_bytes_per_token)),
            FitRow("KV slots", f"{self.num_slots:,} ({show_bytes(self.num_slots * self.kv_bytes_per_token)})"),
            FitRow("longest context", f"{self.max_context:,} tokens"),
            FitRow("users at the longest context", f"{min(users, self.max_running):,}"),
            FitRow(
                "users at 2,048 tokens", f"{min(self.num_slots // min(2048, self.max_context), self.max_running):,}"
            ),
            FitRow("most requests at once", f"{self.max_running:,}"),
        ]


def show_bytes(size: float) -> str:
    """A size for people, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def fit(
    config: ModelConfig, options: EngineOptions, *, kv_dtype: str, weights: str, device: str, free_bytes: int
) -> Fit:
    """Sizes for `free_bytes` of memory that weights and pool share. Raises DoesNotFitError with the shortfall."""
    weight_bytes = config.num_parameters() * BYTES[weights]
    per_token = config.kv_bytes_per_token(BYTES[kv_dtype])
    if weight_bytes > free_bytes:
        raise DoesNotFitError(
            f"the weights take {show_bytes(weight_bytes)}, {show_bytes(weight_bytes - free_bytes)} more than is free; "
            "take a smaller weight format (--weights) or model"
        )
    pool_bytes = options.kv_memory_bytes
    if pool_bytes is None:
        pool_bytes = int((free_bytes - weight_bytes) * options.kv_memory_share)
        if device == "cpu":
            pool_bytes = min(pool_bytes, CPU_DEFAULT_BYTES)
    elif pool_bytes > free_bytes - weight_bytes:
        raise DoesNotFitError(
            f"--kv-memory-bytes asks for {show_bytes(pool_bytes)}; beside the weights "
            f"{show_bytes(free_bytes - weight_bytes)} are free, "
            f"{show_bytes(pool_bytes + weight_bytes - free_bytes)} too few"
        )
    num_slots = pool_bytes // per_token
    longest = min(options.max_context or config.max_positions, config.max_positions)
    if options.max_context is not None and num_slots < options.max_context:
        raise DoesNotFitError(
            f"one context of {options.max_context:,} tokens takes {show_bytes(options.max_context * per_token)}, "
            f"{show_bytes((options.max_context - num_slots) * per_token)} more than the KV pool; "
            f"lower --max-context to {num_slots:,} or raise --kv-memory-bytes"
        )
    if num_slots < 2:
        raise DoesNotFitError(f"the KV pool of {show_bytes(pool_bytes)} holds no two tokens of {show_bytes(per_token)}")
    return Fit(weight_bytes, per_token, num_slots, min(longest, num_slots), min(options.max_running, num_slots))


def free_memory_bytes() -> int:
    """Bytes that this process may still take: what the system has available, within its control group."""
    available = _available()
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most, now = Path(limit).read_text().strip(), int(Path(used).read_text())
        except (OSError, ValueError):
            continue
        if most.isdigit():
            available = min(available, max(0, int(most) - now))
    return available


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
