"""Attention over slots on a CUDA device: decode at batch 64 and context 4,096, and an extend of 512 over 4,096.

.venv/bin/python examples/bench/kernels/attention.py --batch 64 --context 4096

Decode reads each key and value once: its share of the copy bandwidth, measured in the same run, says how far it is from
what the memory allows. The extend is bound by its products; its keys and values stay in the L2 cache. Peers, where
they can be imported: torch's own attention over keys that lie dense, which is spared the slots, and flashinfer over
pages of one token.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from bandwidth import copy_bandwidth, require_cuda, time_cuda
from rich.console import Console
from rich.table import Table
from torch import Tensor

from espalier.kernels.attention import paged_attention

HEADS, KV_HEADS, SIZE = 32, 8, 128
WORKSPACE_BYTES = 256 * 2**20
LAYOUTS = ("contiguous", "scattered")


@dataclass(frozen=True, slots=True)
class Step:
    """`new` queries each of `batch` sequences at the end of histories of `context`; the pool holds just those."""

    q: Tensor
    k: Tensor
    v: Tensor
    table: Tensor
    rows: Tensor
    start: Tensor
    length: Tensor
    new: int
    context: int

    @property
    def kv_bytes(self) -> int:
        """Bytes of all keys and values."""
        return self.k.nbytes + self.v.nbytes

    @property
    def flops(self) -> float:
        """Of both products, for the keys that each query sees."""
        return 4.0 * len(self.q) * HEADS * SIZE * (self.context - (self.new - 1) / 2)

    def ours(self) -> Tensor:
        """What the engine calls."""
        return paged_attention(self.q, self.k, self.v, self.table, self.rows, self.start, self.length, scale=SIZE**-0.5)


def make_step(batch: int, new: int, context: int, width: int, layout: str, device: torch.device) -> Step:
    """A step of random bfloat16 numbers."""
    random = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device, dtype=torch.bfloat16)

    slots = batch * context
    order = torch.arange(slots, device=device)
    if layout == "scattered":
        order = torch.randperm(slots, generator=random, device=device)
    table = torch.zeros(batch, width, dtype=torch.int32, device=device)
    table[:, :context] = order.view(batch, context)
    return Step(
        q=normal(batch * new, HEADS, SIZE),
        k=normal(slots, KV_HEADS, SIZE),
        v=normal(slots, KV_HEADS, SIZE),
        table=table,
        rows=torch.arange(batch, dtype=torch.int32, device=device),
        start=torch.arange(batch + 1, dtype=torch.int32, device=device) * new,
        length=torch.full((batch,), context, dtype=torch.int32, device=device),
        new=new,
        context=context,
    )


def torch_dense(step: Step) -> Callable[[], Tensor]:
    """torch's attention over the same keys, laid out dense beforehand."""
    batch = len(step.rows)
    slots = step.table[:, : step.context].long()
    k, v = (pool[slots].transpose(1, 2).contiguous() for pool in (step.k, step.v))
    q = step.q.view(batch, step.new, HEADS, SIZE).transpose(1, 2)
    seen = torch.ones(step.new, step.context, dtype=torch.bool, device=q.device).tril(step.context - step.new)
    mask = None if step.new == 1 else seen

    def run() -> Tensor:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=SIZE**-0.5, enable_gqa=True)
        return out.transpose(1, 2).reshape(step.q.shape)

    return run


def flashinfer_paged(step: Step) -> Callable[[], Tensor] | None:
    """flashinfer over the same pool, or None where it is not installed."""
    try:
        flashinfer = importlib.import_module("flashinfer")
    except ImportError:
        return None
    device, batch = step.q.device, len(step.rows)
    workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=device)
    indptr = torch.arange(batch + 1, dtype=torch.int32, device=device) * step.context
    indices = step.table[:, : step.context].reshape(-1).contiguous()
    last = torch.ones(batch, dtype=torch.int32, device=device)
    pages = (step.k.unsqueeze(1), step.v.unsqueeze(1))
    shape = (HEADS, KV_HEADS, SIZE, 1)
    dtypes: dict[str, Any] = {"q_data_type": torch.bfloat16, "kv_data_type": torch.bfloat16}
    if step.new == 1:
        wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(workspace, "NHD", use_tensor_cores=True)
        wrapper.plan(indptr, indices, last, *shape, **dtypes)
    else:
        wrapper = flashinfer.BatchPrefillWithPagedKVCacheWrapper(workspace, "NHD")
        wrapper.plan(step.start, indptr, indices, last, *shape, causal=True, **dtypes)

    def run() -> Tensor:
        out: Tensor = wrapper.run(step.q, pages)
        return out

    return run


def runs(step: Step) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Everyone who computes this step."""
    yield "espalier", step.ours
    yield "torch, dense keys", torch_dense(step)
    if (peer := flashinfer_paged(step)) is not None:
        yield "flashinfer, pages of 1", peer


def measure(step: Step, name: str, table: Table, bandwidth: float) -> None:
    """Add a row for each who computes the step."""
    expected = torch_dense(step)().float()
    for who, run in runs(step):
        difference = (run().float() - expected).abs().max().item()
        seconds = time_cuda(run, [()])
        share = f"{step.kv_bytes / seconds / bandwidth:.0%}" if step.new == 1 else "-"
        table.add_row(
            name,
            who,
            f"{seconds * 1e6:,.0f}",
            f"{step.kv_bytes / 1e6:,.0f}",
            share,
            f"{step.flops / seconds / 1e12:,.0f}",
            f"{difference:.4f}",
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="sequences that decode")
    parser.add_argument("--context", type=int, default=4096, help="tokens of a history, or of the prefix of the extend")
    parser.add_argument("--extend", type=int, default=512, help="new tokens of the extend")
    parser.add_argument("--width", type=int, default=8192, help="positions of the slot table, which decides the splits")
    arguments = parser.parse_args()
    device = require_cuda()
    bandwidth = copy_bandwidth(device)
    title = f"{torch.cuda.get_device_name(device)}, copies {bandwidth / 1e9:,.0f} GB/s, read and written"
    table = Table(
        "step", "who", "us", "MB of keys and values", "of copy bandwidth", "TFLOP/s", "difference", title=title
    )
    for layout in LAYOUTS:
        step = make_step(arguments.batch, 1, arguments.context, arguments.width, layout, device)
        measure(step, f"decode {arguments.batch} x {arguments.context}, {layout}", table, bandwidth)
    context = arguments.context + arguments.extend
    for layout in LAYOUTS:
        step = make_step(1, arguments.extend, context, arguments.width, layout, device)
        measure(step, f"extend {arguments.extend} over {arguments.context}, {layout}", table, bandwidth)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
