"""Norm, rotary embedding, gate and KV write: the Triton kernels against their twins, and compiled for sm_90."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from espalier.kernels.kv_write import kv_write
from espalier.kernels.rms_norm import add_rms_norm, rms_norm
from espalier.kernels.rotary import rotary
from espalier.kernels.silu_mul import silu_mul
from tests.kernels.triton_compile import SHARED_BYTES_OF_SM90, Kernel, compile_all

Twin = Callable[..., Any]

# Both sides compute in float32; they differ in the order of sums, and where that crosses a rounding by a last place.
# The interpreter cuts bfloat16 off where a GPU and torch round to nearest: up to three roundings, each a last place.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 3 * 2**-7, torch.float16: 2**-10}
DTYPES = list(BOUNDS)
BATCHES = [1, 2, 7, 64, 257]
EVERY_BATCH = [pytest.param(batch, marks=[] if batch in BATCHES else [pytest.mark.slow]) for batch in range(1, 258)]


def near(found: Tensor, expected: Tensor) -> None:
    bound = BOUNDS[expected.dtype]
    torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


def randn(*shape: int, dtype: torch.dtype = torch.float32, device: str) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype).to(device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), (5, 64), (3, 4, 33), (2, 1, 3, 20), (3, 1), (2, 2500), (0, 8)])
def test_rms_norm(triton_device: str, twin: Twin, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight = randn(*shape, dtype=dtype, device=triton_device), randn(shape[-1], dtype=dtype, device=triton_device)
    near(rms_norm(x, weight, 1e-5), twin(rms_norm, x, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), (5, 64), (3, 4, 33), (2, 2500), (0, 8)])
def test_add_rms_norm(triton_device: str, twin: Twin, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, residual = (randn(*shape, dtype=dtype, device=triton_device) * factor for factor in (1, 3))
    weight = randn(shape[-1], dtype=dtype, device=triton_device)
    normed, total = add_rms_norm(x, residual, weight, 1e-5)
    expected, expected_total = twin(add_rms_norm, x, residual, weight, 1e-5)
    near(normed, expected)
    near(total, expected_total)
    assert torch.equal(x, randn(*shape, dtype=dtype, device=triton_device))


@pytest.mark.parametrize("heads", [slice(0, 5), slice(5, 7)])
def test_heads_of_a_fused_projection_are_normed_and_rotated_in_place(
    triton_device: str, twin: Twin, heads: slice
) -> None:
    x = randn(6, 9, 24, device=triton_device)[:, heads]
    weight, table = randn(24, device=triton_device), randn(11, 24, device=triton_device)
    positions = torch.tensor([0, 10, 3, 3, 7, 1], device=triton_device)
    near(rms_norm(x, weight, 1e-6), twin(rms_norm, x, weight, 1e-6))
    near(rotary(x, table, positions), twin(rotary, x, table, positions))


def test_a_last_axis_of_any_stride_is_taken(triton_device: str, twin: Twin) -> None:
    x = randn(8, 3, 5, device=triton_device).permute(2, 1, 0)
    residual, weight = randn(3, 8, 5, device=triton_device).permute(2, 0, 1), randn(8, device=triton_device)
    positions = torch.arange(5, device=triton_device)
    near(rms_norm(x, weight, 1e-5), twin(rms_norm, x, weight, 1e-5))
    near(add_rms_norm(x, residual, weight, 1e-5)[0], twin(add_rms_norm, x, residual, weight, 1e-5)[0])
    near(silu_mul(x), twin(silu_mul, x))
    near(
        rotary(x, randn(5, 8, device=triton_device), positions),
        twin(rotary, x, randn(5, 8, device=triton_device), positions),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "size"), [(1, 2), (3, 8), (9, 80), (33, 64), (2, 256)])
def test_rotary(triton_device: str, twin: Twin, heads: int, size: int, dtype: torch.dtype) -> None:
    x, angle = randn(6, heads, size, dtype=dtype, device=triton_device), randn(20, size // 2, device=triton_device) * 6
    table = torch.cat((angle.cos(), angle.sin()), -1)
    positions = torch.tensor([0, 19, 3, 3, 7, 1], device=triton_device)
    near(rotary(x, table, positions), twin(rotary, x, table, positions))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [1, 7, 64, 1025, 2300])
def test_silu_mul(triton_device: str, twin: Twin, features: int, dtype: torch.dtype) -> None:
    wide = randn(5, 2 * features + 3, dtype=dtype, device=triton_device) * 6
    near(silu_mul(wide[:, 3:]), twin(silu_mul, wide[:, 3:]))


def test_silu_mul_of_large_numbers_is_finite(triton_device: str) -> None:
    gate = torch.tensor([[-1e4, -200.0, 200.0, 1e4, 1.0, 1.0, 1.0, 1.0]], device=triton_device)
    assert silu_mul(gate).tolist() == [[0.0, 0.0, 200.0, 1e4]]


@pytest.mark.parametrize("heads_first", [True, False])
@pytest.mark.parametrize("pool_dtype", DTYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "size"), [(2, 4), (1, 128), (5, 80), (40, 64)])
def test_kv_write_fills_its_slots_and_no_others(
    triton_device: str,
    twin: Twin,
    heads: int,
    size: int,
    dtype: torch.dtype,
    pool_dtype: torch.dtype,
    heads_first: bool,
) -> None:
    def pools() -> list[Tensor]:
        shape = (heads, 9, size) if heads_first else (9, heads, size)
        empty = [torch.full(shape, 7.0, dtype=pool_dtype, device=triton_device) for _ in range(2)]
        return [pool.transpose(0, 1) for pool in empty] if heads_first else empty

    fused = randn(3, 3 * heads, size, dtype=dtype, device=triton_device)
    k, v, slots = fused[:, heads : 2 * heads], fused[:, 2 * heads :], torch.tensor([7, 0, 4], device=triton_device)
    found, expected = pools(), pools()
    kv_write(k, v, found[0], found[1], slots)
    twin(kv_write, k, v, *expected, slots)
    for pool, wanted in zip(found, expected, strict=True):
        near(pool, wanted)
        assert torch.equal(pool == 7.0, wanted == 7.0)


@pytest.mark.parametrize("batch", EVERY_BATCH)
def test_any_batch(triton_device: str, twin: Twin, batch: int) -> None:
    x, weight = randn(batch, 2, 12, device=triton_device), randn(12, device=triton_device)
    positions = torch.arange(batch, device=triton_device) * 7 % 50
    table, pool = randn(50, 12, device=triton_device), randn(batch, 2, 12, device=triton_device)
    near(rms_norm(x, weight, 1e-5), twin(rms_norm, x, weight, 1e-5))
    near(silu_mul(x), twin(silu_mul, x))
    near(rotary(x, table, positions), twin(rotary, x, table, positions))
    kv_write(x, x, pool, pool.clone(), torch.arange(batch, device=triton_device).flip(0))
    assert torch.equal(pool, x.flip(0))


def kernels(of: str) -> list[Kernel]:
    """Each kernel as the models' usual sizes launch it; `of` is the activations' dtype."""
    x, index, module = f"*{of}", "*i64", "espalier.kernels.triton."
    norm = dict.fromkeys(("x", "residual", "weight", "out", "new_residual"), x)
    norm |= dict.fromkeys(("num_rows", "num_inner", "features", "x_outer_stride", "x_inner_stride"), "i32")
    rope = {"x": x, "cos_sin": "*fp32", "positions": index, "out": x}
    rope |= dict.fromkeys(("num_heads", "token_stride", "head_stride", "table_stride"), "i32")
    write = dict.fromkeys(("k", "v", "k_pool", "v_pool"), x) | {"out_slots": index, "num_heads": "i32"}
    names = ("k_token", "k_head", "v_token", "v_head", "k_slot", "k_pool_head", "v_slot", "v_pool_head")
    write |= {f"{name}_stride": "i32" for name in names}
    gate = {"gate_up": x, "out": x, "features": "i32", "row_stride": "i32"}
    return [
        *(
            Kernel(
                module + "rms_norm",
                "rms_norm_kernel",
                norm | {"eps": "fp32"},
                {"HAS_RESIDUAL": has_residual, "ROWS": max(1, 2048 // block), "BLOCK": block},
                num_warps=max(4, min(32, block // 512)),
            )
            for has_residual in (False, True)
            for block in (64, 128, 1024, 4096, 8192, 16384)
        ),
        *(
            Kernel(module + "rotary", "rotary_kernel", rope, {"HALF": half, "HEADS": 8, "BLOCK": block})
            for half, block in ((32, 32), (40, 64), (64, 64), (128, 128))
        ),
        *(
            Kernel(module + "kv_write", "kv_write_kernel", write, {"SIZE": size, "HEADS": 8, "BLOCK": block})
            for size, block in ((64, 64), (80, 128), (128, 128), (256, 256))
        ),
        Kernel(module + "silu_mul", "silu_mul_kernel", gate, {"BLOCK": 1024}),
    ]


def test_the_kernels_compile_for_sm_90_without_spills() -> None:
    usual = [kernel for of in ("fp32", "bf16", "fp16") for kernel in kernels(of)]
    for kernel, report in zip(usual, compile_all(usual), strict=True):
        assert report.spill_bytes == 0, kernel
        assert report.shared_bytes <= SHARED_BYTES_OF_SM90, kernel
