"""Attention over slots against the textbook in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from espalier.kernels.errors import KernelError
from tests.kernels.attention_case import CASES, Case


def with_threads(threads: int, check: Callable[[], None]) -> None:
    """Check several times, since threads come in another order each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(20):
            check()
    finally:
        torch.set_num_threads(before)


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
