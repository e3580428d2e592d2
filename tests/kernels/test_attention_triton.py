"""Attention's Triton kernels against the textbook in float64 and against their twin, and compiled for sm_90."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from espalier.kernels.attention import paged_attention
from espalier.kernels.errors import KernelError
from espalier.kernels.triton.attention_plan import plan_attention
from tests.kernels.attention_case import CASES, Case
from tests.kernels.interpreter import skip_without_triton
from tests.kernels.triton_compile import SHARED_BYTES_OF_SM90, Kernel, compile_all

# Weights are rounded to the queries' dtype before they meet the values, and the result once more; the interpreter cuts
# bfloat16 off. float32 goes through three TensorFloat-32 products on a GPU.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 4e-3}
LENGTHS = [1, 2, 63, 64, 65, 127, 255, 256, 257, 300]
EVERY_LENGTH = [pytest.param(n, marks=[] if n in LENGTHS else [pytest.mark.slow]) for n in range(1, 301)]
BATCHES = [1, 2, 3, 33, 257]
EVERY_BATCH = [pytest.param(n, marks=[] if n in BATCHES else [pytest.mark.slow]) for n in range(1, 258)]
EVERY_BATCH_EXTENDED = [pytest.param(n, marks=[] if n in BATCHES[:-1] else [pytest.mark.slow]) for n in range(1, 258)]


def agree(case: Case, window: int | None = None, *, exact: bool = False) -> None:
    found = case.run(window, exact=exact)
    assert found.dtype == case.q.dtype
    bound = BOUNDS[case.q.dtype]
    torch.testing.assert_close(found.double(), case.expected(window), rtol=bound, atol=bound)


@pytest.mark.parametrize("window", [None, 1, 7, 64])
@pytest.mark.parametrize("name", CASES)
def test_attention_agrees_with_the_textbook(triton_device: str, name: str, window: int | None) -> None:
    agree(dataclasses.replace(CASES[name], device=triton_device), window)


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("name", ["decode", "one KV head", "odd sizes", "wide heads"])
def test_exact_attention_agrees_with_the_textbook(triton_device: str, name: str, window: int | None) -> None:
    agree(dataclasses.replace(CASES[name], device=triton_device), window, exact=True)


@pytest.mark.parametrize("name", CASES)
def test_kernel_and_twin_agree(triton_device: str, twin: Callable[..., Any], name: str) -> None:
    case = dataclasses.replace(CASES[name], device=triton_device)
    torch.testing.assert_close(case.run(9), twin(case.run, 9), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("new", [[1, 1], [6, 1]])
@pytest.mark.parametrize("pool_dtype", list(BOUNDS))
@pytest.mark.parametrize("dtype", list(BOUNDS))
def test_queries_and_pools_of_every_dtype(
    triton_device: str, new: list[int], dtype: torch.dtype, pool_dtype: torch.dtype
) -> None:
    agree(Case(4, 2, 32, new, [70, 9], dtype, pool_dtype=pool_dtype, device=triton_device))


@pytest.mark.parametrize("new", [[1, 1], [9, 1]])
@pytest.mark.parametrize("size", [16, 32, 64, 80, 96, 128, 192, 256])
def test_every_head_size(triton_device: str, new: list[int], size: int) -> None:
    for dtype in BOUNDS:
        agree(Case(3, 1, size, new, [70, 9], dtype, device=triton_device))


@pytest.mark.parametrize("new", [[1, 1], [9, 1], [40, 2]])
@pytest.mark.parametrize("group", [1, 2, 3, 4, 7, 16, 17, 40])
def test_every_size_of_group(triton_device: str, new: list[int], group: int) -> None:
    agree(Case(2 * group, 2, 16, new, [70, 9], device=triton_device), 50)


@pytest.mark.parametrize("length", EVERY_LENGTH)
def test_every_length_of_context(triton_device: str, length: int) -> None:
    agree(Case(3, 1, 16, [1], [length], device=triton_device))
    agree(Case(1, 1, 16, [length], [length], device=triton_device), 33)
    agree(Case(3, 1, 16, [1, min(5, length)], [7, length], device=triton_device, width=600), 257)


@pytest.mark.parametrize("batch", EVERY_BATCH)
def test_every_batch_decodes(triton_device: str, batch: int) -> None:
    agree(Case(2, 1, 16, [1] * batch, [1 + 37 * b % 90 for b in range(batch)], device=triton_device))


@pytest.mark.parametrize("batch", EVERY_BATCH_EXTENDED)
def test_every_batch_extends(triton_device: str, batch: int) -> None:
    lengths = [1 + 37 * b % 90 for b in range(batch)]
    new = [min(length, 1 + b % 4) for b, length in enumerate(lengths)]
    agree(Case(2, 1, 16, new, lengths, device=triton_device))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("window", [None, 1000])
def test_long_contexts_in_many_splits(triton_device: str, window: int | None, exact: bool) -> None:
    agree(Case(2, 1, 16, [1, 1], [5100, 800], device=triton_device, width=9000), window, exact=exact)
    agree(Case(2, 1, 16, [5, 1], [1100, 800], device=triton_device, width=9000), window, exact=exact)


@pytest.mark.parametrize("new", [[0, 1, 0, 2], [3, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]])
def test_sequences_without_new_tokens_are_passed_over(triton_device: str, new: list[int]) -> None:
    agree(Case(4, 2, 16, new, [30, 5, 3, 70], device=triton_device))


def test_a_step_without_tokens_gives_nothing(triton_device: str) -> None:
    case = Case(4, 2, 16, [0], [3], device=triton_device)
    assert case.run().shape == (0, 4, 16)


@pytest.mark.parametrize("new", [[1, 1], [30, 1]])
def test_what_lies_in_other_slots_never_shows(triton_device: str, new: list[int]) -> None:
    clean = Case(4, 2, 20, new, [70, 33], device=triton_device)
    dirty = Case(4, 2, 20, new, [70, 33], device=triton_device)
    read = torch.cat([dirty.table[row, :n] for row, n in zip(dirty.rows.tolist(), dirty.lengths, strict=True)]).long()
    other = torch.ones(len(dirty.k), dtype=torch.bool, device=triton_device).index_fill_(0, read, False)
    dirty.k[other], dirty.v[other] = float("nan"), float("nan")
    assert torch.equal(dirty.run(), clean.run())


def test_what_fell_out_of_the_window_never_shows(triton_device: str) -> None:
    clean, dirty = (Case(4, 2, 20, [2], [150], device=triton_device) for _ in range(2))
    gone = dirty.table[dirty.rows[0], : 150 - 2 + 1 - 40].long()
    dirty.k[gone], dirty.v[gone] = float("nan"), float("nan")
    assert torch.equal(dirty.run(40), clean.run(40))


def test_queries_may_lie_in_any_strides(triton_device: str) -> None:
    case = Case(4, 2, 16, [1, 9], [70, 80], device=triton_device)
    plain = case.run()
    case.q = case.q.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(case.run(), plain)
    wide = torch.zeros(10, 9, 16, device=triton_device)
    wide[:, 3:7] = case.q
    case.q = wide[:, 3:7]
    assert torch.equal(case.run(), plain)


@pytest.mark.parametrize("window", [None, 20])
def test_exact_is_the_same_bit_for_bit_whatever_is_computed_with_it(triton_device: str, window: int | None) -> None:
    whole = Case(3, 1, 24, [20, 1], [270, 65], device=triton_device)
    together = whole.run(window, exact=True)
    for at in (0, 5, 6, 19):
        alone = Case(3, 1, 24, [20, 1], [270, 65], device=triton_device)
        alone.q, alone.rows = whole.q[at : at + 1], whole.rows[:1]
        alone.start = torch.tensor([0, 1], dtype=torch.int32, device=triton_device)
        alone.length = torch.tensor([270 - 20 + at + 1], dtype=torch.int32, device=triton_device)
        assert torch.equal(alone.run(window, exact=True)[0], together[at])


@pytest.mark.gpu
@pytest.mark.parametrize("new", [[1, 1], [5, 2]])
def test_a_captured_graph_serves_other_contexts(new: list[int]) -> None:
    skip_without_triton("cuda")
    case = Case(4, 2, 64, new, [570, 90], device="cuda", width=3000)
    # Compiled before it is captured.
    case.run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = case.run()
    case.lengths = [100, 80]
    case.length.copy_(torch.tensor(case.lengths, dtype=torch.int32))
    graph.replay()
    torch.testing.assert_close(found.double(), case.expected(), rtol=1e-5, atol=1e-5)


def run_with(case: Case, **changed: Tensor) -> None:
    named: dict[str, Any] = {
        "slot_table": case.table,
        "rows": case.rows,
        "query_start": case.start,
        "context_len": case.length,
    }
    named |= {"q_tnd": case.q, "k_pool_smd": case.k, "v_pool_smd": case.v}
    paged_attention(**(named | changed), scale=1.0)


@pytest.mark.parametrize("name", ["slot_table", "rows", "query_start", "context_len"])
def test_an_index_of_another_dtype_is_named(triton_device: str, name: str) -> None:
    case = Case(4, 2, 16, [1, 9], [70, 80], device=triton_device)
    index = {"slot_table": case.table, "rows": case.rows, "query_start": case.start, "context_len": case.length}[name]
    with pytest.raises(KernelError, match=f"{name} is torch.int64"):
        run_with(case, **{name: index.long()})


def test_what_does_not_go_together_is_refused(triton_device: str) -> None:
    case = Case(4, 2, 16, [1, 9], [70, 80], device=triton_device)
    with pytest.raises(KernelError, match="2 rows, 3 query starts and 1 context lengths"):
        run_with(case, context_len=case.length[:1])
    with pytest.raises(KernelError, match="the pools are"):
        run_with(case, v_pool_smd=case.v.half())
    with pytest.raises(KernelError, match="last stride of 1"):
        run_with(case, k_pool_smd=case.k[..., ::2], v_pool_smd=case.v[..., ::2])
    with pytest.raises(KernelError, match=r"floats \[T, N, D\]"):
        run_with(case, q_tnd=case.q[..., :8])
    with pytest.raises(KernelError, match="window is 0"):
        case.run(0)


# Query heads, KV heads and head size of usual models.
SHAPES = [(32, 8, 128), (16, 8, 128), (64, 8, 128), (32, 32, 80), (14, 2, 64), (9, 3, 64), (8, 4, 256), (32, 32, 96)]
# New tokens, sequences, and whether it is exact: decode, prefill of one prompt, a mixed step, and exact.
STEPS = [(64, 64, False), (512, 1, False), (600, 65, False), (200, 64, False), (64, 64, True)]


def compiled(of: str, pool: str, heads: int, kv_heads: int, size: int, step: tuple[int, int, bool]) -> Kernel:
    """The attention kernel as `paged_attention` launches it for a step over a slot table of 8,192 positions."""
    plan = plan_attention(
        num_tokens=step[0],
        num_sequences=step[1],
        num_heads=heads,
        num_kv_heads=kv_heads,
        size=size,
        width=8192,
        is_float32=of == "fp32",
        exact=step[2],
    )
    signature = {"q": f"*{of}", "out": f"*{of}", "k_pool": f"*{pool}", "v_pool": f"*{pool}", "scale": "fp32"}
    signature |= dict.fromkeys(("partial", "log_sum"), "*fp32")
    signature |= dict.fromkeys(("slot_table", "rows", "query_start", "context_len"), "*i32")
    pointers = [name for name, kind in signature.items() if kind.startswith("*")]
    strides = ("q_token_stride", "q_head_stride", "slot_stride", "pool_head_stride", "table_stride")
    signature |= dict.fromkeys(("window", "split", "first_token", "num_sequences", *strides), "i32")
    return Kernel(
        "espalier.kernels.triton.attention",
        "attention_kernel",
        signature,
        {
            "GROUP": heads // kv_heads,
            "QUERIES": plan.queries,
            "PER_TOKEN": plan.is_per_token,
            "DIRECT": plan.num_splits == 1,
            "SIZE": size,
            "BLOCK_ROWS": plan.block_rows,
            "BLOCK_KEYS": plan.block_keys,
            "BLOCK_SIZE": 1 << (size - 1).bit_length(),
            "WIDEN": False,
        },
        plan.num_warps,
        plan.num_stages,
        aligned=(*pointers, *strides),
    )


def joined(of: str, size: int) -> Kernel:
    signature = {"partial": "*fp32", "log_sum": "*fp32", "out": f"*{of}", "query_start": "*i32", "context_len": "*i32"}
    signature |= dict.fromkeys(("window", "split", "num_units", "first_token", "num_sequences"), "i32")
    constexprs = {"SIZE": size, "BLOCK_UNITS": 16, "BLOCK_SIZE": 1 << (size - 1).bit_length()}
    return Kernel("espalier.kernels.triton.attention", "join_kernel", signature, constexprs)


def check_compiled(kernels: list[Kernel]) -> None:
    for kernel, report in zip(kernels, compile_all(kernels), strict=True):
        assert report.spill_bytes == 0, (kernel, report)
        assert report.shared_bytes <= SHARED_BYTES_OF_SM90, (kernel, report)


def test_the_kernels_compile_for_sm_90_without_spills() -> None:
    usual = [compiled("bf16", "bf16", *SHAPES[0], step) for step in STEPS[:3]]
    usual.append(compiled("fp32", "fp16", *SHAPES[0], STEPS[0]))
    check_compiled([*usual, joined("bf16", 128)])


@pytest.mark.slow
@pytest.mark.parametrize(("of", "pool"), [("bf16", "bf16"), ("fp16", "fp16"), ("fp32", "fp32"), ("fp32", "fp16")])
def test_every_usual_shape_compiles_for_sm_90_without_spills(of: str, pool: str) -> None:
    check_compiled([compiled(of, pool, *shape, step) for shape in SHAPES for step in STEPS])
    check_compiled([joined(of, size) for size in (64, 80, 128, 256)])
