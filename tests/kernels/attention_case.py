"""Sequences with histories in slots, and the textbook's attention to them in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.kernels.attention import paged_attention


@dataclass
class Case:
    """Sequences with `new` queries at the end of histories of `lengths`, in scattered slots or in runs."""

    heads: int
    kv_heads: int
    size: int
    new: list[int]
    lengths: list[int]
    dtype: torch.dtype = torch.float32
    heads_first: bool = True
    fragmented: bool = True
    pool_dtype: torch.dtype | None = None
    device: str = "cpu"
    width: int | None = None

    def __post_init__(self) -> None:
        random = torch.Generator().manual_seed(sum(self.lengths) + self.heads)
        slots = sum(self.lengths) + 40
        shape = (self.kv_heads, slots, self.size) if self.heads_first else (slots, self.kv_heads, self.size)
        pools = [torch.randn(shape, generator=random).to(self.pool_dtype or self.dtype) for _ in range(2)]
        pools = [pool.to(self.device) for pool in pools]
        self.k, self.v = (pool.transpose(0, 1) if self.heads_first else pool for pool in pools)
        q = torch.randn(sum(self.new), self.heads, self.size, generator=random)
        self.q = q.to(self.dtype).to(self.device)
        order = torch.randperm(slots, generator=random) if self.fragmented else torch.arange(slots)
        self.table = torch.zeros(len(self.lengths) + 3, self.width or max(self.lengths), dtype=torch.int32)
        self.rows = torch.randperm(len(self.lengths) + 3, generator=random)[: len(self.lengths)].int()
        at = 0
        for row, length in zip(self.rows.tolist(), self.lengths, strict=True):
            self.table[row, :length] = order[at : at + length].int()
            at += length
        self.start = torch.tensor([0, *torch.tensor(self.new).cumsum(0).tolist()], dtype=torch.int32)
        self.length = torch.tensor(self.lengths, dtype=torch.int32)
        names = ("table", "rows", "start", "length")
        self.table, self.rows, self.start, self.length = (getattr(self, name).to(self.device) for name in names)

    def run(self, window: int | None = None, *, exact: bool = False) -> Tensor:
        return paged_attention(
            self.q,
            self.k,
            self.v,
            self.table,
            self.rows,
            self.start,
            self.length,
            scale=self.size**-0.5,
            window=window,
            exact=exact,
        )

    def expected(self, window: int | None = None) -> Tensor:
        out = torch.empty(self.q.shape, dtype=torch.float64, device=self.device)
        for b, row in enumerate(self.rows.tolist()):
            slots = self.table[row, : self.lengths[b]].long()
            group = self.heads // self.kv_heads
            k, v = (pool[slots].double().repeat_interleave(group, 1) for pool in (self.k, self.v))
            for at in range(int(self.start[b]), int(self.start[b + 1])):
                position = self.lengths[b] - self.new[b] + at - int(self.start[b])
                first = 0 if window is None else max(0, position - window + 1)
                score = torch.einsum("nd,lnd->nl", self.q[at].double(), k[first : position + 1]) * self.size**-0.5
                out[at] = torch.einsum("nl,lnd->nd", score.softmax(-1), v[first : position + 1])
        return out


CASES = {
    "decode": Case(4, 4, 16, [1, 1, 1], [1, 17, 200]),
    "prefill": Case(4, 2, 32, [50, 3], [50, 90]),
    "mixed": Case(9, 3, 64, [1, 40, 1, 7], [130, 40, 65, 71]),
    "one KV head": Case(6, 1, 24, [5, 1], [64, 129]),
    "odd sizes": Case(3, 3, 20, [2, 1], [33, 7]),
    "runs of slots": Case(4, 2, 16, [1, 20], [300, 150], fragmented=False),
    "slots first": Case(4, 2, 16, [1, 9], [70, 80], heads_first=False),
    "wide heads": Case(2, 1, 128, [3, 1], [90, 33]),
}
