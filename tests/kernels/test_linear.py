"""Linear layers against float64, and rows against themselves in other batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from espalier.kernels.errors import KernelError
from espalier.kernels.linear import WeightFormat, pack_linear, quantize

SHAPES = [(1, 1), (3, 5), (16, 16), (17, 33), (64, 100), (129, 7), (300, 257), (48, 1030)]


def make(out_features: int, in_features: int, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(out_features * 1000 + in_features + rows)
    weight = torch.randn(out_features, in_features, generator=random)
    return weight, torch.randn(out_features, generator=random), torch.randn(rows, in_features, generator=random)


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 13, 32, 100, 257])
@pytest.mark.parametrize(("out_features", "in_features"), SHAPES)
@pytest.mark.parametrize("has_bias", [True, False])
def test_float32_agrees_with_float64(way: str, out_features: int, in_features: int, rows: int, has_bias: bool) -> None:
    weight, bias, x = make(out_features, in_features, rows)
    out = pack_linear(weight, bias if has_bias else None, "float32")(x)
    expected = x.double() @ weight.double().T + (bias.double() if has_bias else 0)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5 * in_features**0.5)


@pytest.mark.parametrize("rows", [1, 3, 8, 33, 130])
@pytest.mark.parametrize(("out_features", "in_features"), SHAPES)
def test_int8_is_the_product_of_the_rounded_weights(way: str, out_features: int, in_features: int, rows: int) -> None:
    weight, bias, x = make(out_features, in_features, rows)
    rounded, scale = quantize(weight)
    out = pack_linear(weight, bias, "int8")(x)
    expected = x.double() @ (rounded.double() * scale.double().unsqueeze(1)).T + bias.double()
    # Inputs may be rounded too, to steps of a 127th of their largest: six standard deviations of what that adds up to.
    step = x.abs().amax().double() / 127
    bound = 6 * step * 12**-0.5 * (rounded.double() * scale.double().unsqueeze(1)).norm(dim=1) + 1e-5
    assert bool(((out.double() - expected).abs() <= bound).all())


@pytest.mark.parametrize("weight_format", ["float32", "int8"])
@pytest.mark.parametrize(("out_features", "in_features"), [(64, 100), (129, 33), (300, 257), (48, 1030), (33, 513)])
def test_a_row_is_the_same_bit_for_bit_in_every_batch(
    way: str, weight_format: WeightFormat, out_features: int, in_features: int
) -> None:
    weight, bias, x = make(out_features, in_features, 260)
    linear = pack_linear(weight, bias, weight_format, exact=True)
    alone = torch.cat([linear(x[row : row + 1]) for row in range(len(x))])
    for size in (2, 6, 7, 32, 33, 70, 129, 260):
        together = torch.cat([linear(part) for part in x.split(size)])
        assert torch.equal(alone, together)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("weight_format", ["float32", "int8"])
@pytest.mark.parametrize("rows", [1, 37])
def test_the_number_of_threads_changes_no_bit(weight_format: WeightFormat, rows: int, threads: int) -> None:
    weight, bias, x = make(300, 257, rows)
    linear = pack_linear(weight, bias, weight_format, exact=True)
    alone, before = linear(x), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert all(torch.equal(linear(x), alone) for _ in range(50))
    finally:
        torch.set_num_threads(before)


def test_several_callers_at_once_get_what_each_gets_alone() -> None:
    made = [make(300, 257, rows) for rows in (1, 5, 40)]
    linears = [pack_linear(weight, bias, "int8") for weight, bias, _ in made]
    alone = [linear(x) for linear, (_, _, x) in zip(linears, made, strict=True)]
    with ThreadPoolExecutor(6) as pool:
        jobs = [(at, pool.submit(linears[at], made[at][2])) for _ in range(100) for at in range(3)]
        assert all(torch.equal(job.result(), alone[at]) for at, job in jobs)


@pytest.mark.parametrize("weight_format", ["float32", "int8"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_spoils_its_own_row_alone(way: str, weight_format: WeightFormat, odd: float) -> None:
    weight, bias, x = make(48, 130, 5)
    linear = pack_linear(weight, bias, weight_format)
    clean = linear(x)
    x[2, 77] = odd
    out = linear(x)
    assert not bool(out[2].isfinite().any())
    assert torch.equal(out[[0, 1, 3, 4]], clean[[0, 1, 3, 4]])


@pytest.mark.parametrize("weight_format", ["bfloat16", "float16"])
def test_half_precision_keeps_its_dtype(weight_format: WeightFormat) -> None:
    weight, bias, x = make(17, 33, 5)
    dtype = getattr(torch, weight_format)
    out = pack_linear(weight, bias, weight_format)(x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), x @ weight.T + bias, rtol=0.05, atol=0.3)


def test_no_rows_give_no_rows(way: str) -> None:
    weight, bias, x = make(4, 6, 1)
    assert pack_linear(weight, bias, "float32")(x[:0]).shape == (0, 4)


def test_strided_inputs_are_taken(way: str) -> None:
    weight, bias, x = make(9, 20, 8)
    linear = pack_linear(weight, bias, "float32")
    wide = torch.zeros(8, 41)
    wide[:, ::2][:, :20] = x
    assert torch.equal(linear(wide[:, ::2][:, :20]), linear(x))


def test_zero_weights_and_zero_inputs_are_no_trouble(way: str) -> None:
    weight = torch.zeros(5, 8)
    assert torch.equal(pack_linear(weight, None, "int8")(torch.zeros(3, 8)), torch.zeros(3, 5))


def test_wrong_shapes_are_named() -> None:
    weight, bias, _ = make(4, 6, 2)
    with pytest.raises(KernelError, match="two axes"):
        pack_linear(weight[0], None, "float32")
    with pytest.raises(KernelError, match="bias has shape"):
        pack_linear(weight, bias[:2], "float32")


def test_a_row_that_is_no_number_stays_one_and_leaves_the_others(way: str) -> None:
    weight, bias, x = make(20, 30, 4)
    linear = pack_linear(weight, bias, "float32")
    clean = linear(x)
    x[1, 3] = float("nan")
    out = linear(x)
    assert bool(out[1].isnan().all())
    assert torch.equal(out[[0, 2, 3]], clean[[0, 2, 3]])
