"""Attention over slots against the textbook in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from espalier.kernels.attention import paged_attention
from espalier.kernels.errors import KernelError


def with_threads(threads: int, check: Callable[[], None]) -> None:
    """Check several times, since threads come in another order each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(20):
            check()
    finally:
        torch.set_num_threads(before)


@dataclass
class Case:
    """Sequences with their histories in scattered slots."""

    heads: int
    kv_heads: int
    size: int
    new: list[int]
    lengths: list[int]
    dtype: torch.dtype = torch.float32
    heads_first: bool = True
    fragmented: bool = True

    def __post_init__(self) -> None:
        random = torch.Generator().manual_seed(sum(self.lengths) + self.heads)
        slots = sum(self.lengths) + 40
        shape = (self.kv_heads, slots, self.size) if self.heads_first else (slots, self.kv_heads, self.size)
        pools = [torch.randn(shape, generator=random).to(self.dtype) for _ in range(2)]
        self.k, self.v = (pool.transpose(0, 1) if self.heads_first else pool for pool in pools)
        self.q = torch.randn(sum(self.new), self.heads, self.size, generator=random).to(self.dtype)
        order = torch.randperm(slots, generator=random) if self.fragmented else torch.arange(slots)
        self.table = torch.zeros(len(self.lengths) + 3, max(self.lengths), dtype=torch.int32)
        self.rows = torch.randperm(len(self.lengths) + 3, generator=random)[: len(self.lengths)].int()
        at = 0
        for row, length in zip(self.rows.tolist(), self.lengths, strict=True):
            self.table[row, :length] = order[at : at + length].int()
            at += length
        self.start = torch.tensor([0, *torch.tensor(self.new).cumsum(0).tolist()], dtype=torch.int32)
        self.length = torch.tensor(self.lengths, dtype=torch.int32)

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
        out = torch.empty(self.q.shape, dtype=torch.float64)
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


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("window", [None, 1, 7, 64])
@pytest.mark.parametrize("name", CASES)
def test_attention_agrees_with_the_textbook(way: str, name: str, window: int | None, exact: bool) -> None:
    case = CASES[name]
    torch.testing.assert_close(case.run(window, exact=exact).double(), case.expected(window), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_works_in_plain_torch(dtype: torch.dtype) -> None:
    case = Case(4, 2, 16, [1, 9], [70, 80], dtype=dtype)
    out = case.run()
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), case.expected(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_a_pool_of_half_precision_serves_float32_queries(way: str, name: str, dtype: torch.dtype, exact: bool) -> None:
    case = dataclasses.replace(CASES[name], dtype=dtype)
    case.q = case.q.float()
    torch.testing.assert_close(case.run(exact=exact).double(), case.expected(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("name", CASES)
def test_the_number_of_threads_changes_no_bit(way: str, name: str, threads: int) -> None:
    # Torch's own product adds up in an order that depends on the processor and its threads: only exact mode promises.
    exact = way == "torch"
    alone = CASES[name].run(exact=exact)
    with_threads(threads, lambda: torch.testing.assert_close(CASES[name].run(exact=exact), alone, rtol=0, atol=0))


@pytest.mark.parametrize("window", [None, 20])
def test_a_query_is_the_same_bit_for_bit_whatever_is_computed_with_it(way: str, window: int | None) -> None:
    whole = Case(9, 3, 64, [90, 1], [130, 65])
    together = whole.run(window, exact=True)
    for at in (0, 1, 5, 63, 64, 89):
        alone = Case(9, 3, 64, [90, 1], [130, 65])
        alone.q, alone.rows = whole.q[at : at + 1], whole.rows[:1]
        alone.start = torch.tensor([0, 1], dtype=torch.int32)
        alone.length = torch.tensor([130 - 90 + at + 1], dtype=torch.int32)
        assert torch.equal(alone.run(window, exact=True)[0], together[at])


def test_heads_that_do_not_group_are_refused() -> None:
    case = Case(4, 4, 16, [1], [5])
    case.q = case.q[:, :3]
    with pytest.raises(KernelError, match="query heads"):
        case.run()
