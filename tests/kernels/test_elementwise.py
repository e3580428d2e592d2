"""Norm, rotary embedding, gate and KV write against the textbook."""

from __future__ import annotations

import pytest
import torch

from espalier.kernels.errors import KernelError
from espalier.kernels.kv_write import kv_write
from espalier.kernels.rms_norm import rms_norm
from espalier.kernels.rotary import rotary
from espalier.kernels.silu_mul import silu_mul

DTYPES = [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)]


@pytest.mark.parametrize(("dtype", "bound"), DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), (5, 64), (3, 4, 33)])
def test_rms_norm(shape: tuple[int, ...], dtype: torch.dtype, bound: float) -> None:
    x, weight = torch.randn(shape).to(dtype), torch.randn(shape[-1]).to(dtype)
    wide = x.double()
    expected = wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(rms_norm(x, weight, 1e-5).double(), expected, rtol=bound, atol=bound)


@pytest.mark.parametrize(("dtype", "bound"), DTYPES)
def test_rotary_turns_each_pair_by_its_angle(dtype: torch.dtype, bound: float) -> None:
    x, angle = torch.randn(6, 3, 8).to(dtype), torch.rand(20, 4) * 6
    table, positions = torch.cat((angle.cos(), angle.sin()), -1), torch.tensor([0, 19, 3, 3, 7, 1])
    pairs = torch.complex(x[..., :4].double(), x[..., 4:].double())
    turned = pairs * torch.polar(torch.ones(6, 1, 4, dtype=torch.float64), angle[positions].double().unsqueeze(1))
    expected = torch.cat((turned.real, turned.imag), -1)
    torch.testing.assert_close(rotary(x, table, positions).double(), expected, rtol=bound, atol=bound)


@pytest.mark.parametrize(("dtype", "bound"), DTYPES)
@pytest.mark.parametrize("features", [1, 7, 64])
def test_silu_mul(features: int, dtype: torch.dtype, bound: float) -> None:
    x = (torch.randn(5, 2 * features) * 4).to(dtype)
    gate, up = x.double().chunk(2, -1)
    torch.testing.assert_close(silu_mul(x).double(), gate * gate.sigmoid() * up, rtol=bound, atol=bound)


@pytest.mark.parametrize("heads_first", [True, False])
def test_kv_write_fills_its_slots_and_no_others(heads_first: bool) -> None:
    pools = [torch.zeros((2, 9, 4) if heads_first else (9, 2, 4)) for _ in range(2)]
    k_pool, v_pool = (pool.transpose(0, 1) if heads_first else pool for pool in pools)
    k, v, slots = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.tensor([7, 0, 4])
    kv_write(k, v, k_pool, v_pool, slots)
    assert torch.equal(k_pool[slots], k)
    assert torch.equal(v_pool[slots], v)
    assert k_pool.count_nonzero() == k.count_nonzero()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(KernelError, match="weight has shape"):
        rms_norm(torch.randn(2, 4), torch.randn(3), 1e-5)
    with pytest.raises(KernelError, match="an even one"):
        silu_mul(torch.randn(2, 3))
    with pytest.raises(KernelError, match="columns"):
        rotary(torch.randn(1, 1, 8), torch.randn(4, 6), torch.tensor([0]))
    pool = torch.zeros(4, 2, 8)
    with pytest.raises(KernelError, match="the pool"):
        kv_write(torch.randn(1, 2, 6), torch.randn(1, 2, 6), pool, pool.clone(), torch.tensor([0]))
