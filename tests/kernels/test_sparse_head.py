"""The sparse head against the whole product: packed weights to the bit, others to rounding; kernel against twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from espalier.kernels.errors import KernelError
from espalier.kernels.linear import Linear, TorchLinear, WeightFormat, pack_linear
from espalier.kernels.sparse_head import sparse_head
from tests.kernels.triton_compile import SHARED_BYTES_OF_SM90, Kernel, compile_all

SHAPES = [(1, 1), (3, 5), (129, 7), (300, 257), (1000, 576)]
DTYPES: list[WeightFormat] = ["float32", "bfloat16", "float16"]
# Sums of a few hundred products in another order, rounded to the dtype.
TOLERANCE = {"float32": (1e-5, 1e-4), "bfloat16": (2**-7, 1e-2), "float16": (2**-10, 1e-2)}
BEYOND = 3


def wanted_of(rows: int, vocabulary: int, seed: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Ragged tokens: none, all, ascending, in any order, twice the same; and as `start` and `token`, which has room."""
    random = torch.Generator().manual_seed(seed)
    tokens = []
    for row in range(rows):
        count = int(torch.randint(0, vocabulary + 1, (1,), generator=random)) if row % 5 else [0, vocabulary][row % 2]
        chosen = torch.randint(0, vocabulary, (count,), generator=random)
        tokens.append(chosen.sort().values if row % 3 else chosen)
    start = torch.tensor([0, *(len(t) for t in tokens)]).cumsum(0).int()
    return tokens, start, torch.cat([*tokens, torch.full((BEYOND,), -7)]).int()


def make(vocabulary: int, features: int, rows: int, fmt: WeightFormat, has_bias: bool) -> tuple[Linear, Tensor]:
    random = torch.Generator().manual_seed(vocabulary + features + rows)
    weight = torch.randn(vocabulary, features, generator=random)
    bias = torch.randn(vocabulary, generator=random) if has_bias else None
    hidden = torch.randn(rows, features, generator=random)
    return pack_linear(weight, bias, fmt), hidden.to(torch.float32 if fmt == "int8" else getattr(torch, fmt))


def gathered(logits: Tensor, tokens: list[Tensor]) -> Tensor:
    """What the whole product says of the wanted tokens, and minus infinity for the room behind them."""
    found = [row[wanted] for row, wanted in zip(logits.float(), tokens, strict=True)]
    return torch.cat([*found, torch.full((BEYOND,), float("-inf"))])


@pytest.mark.parametrize("rows", [1, 2, 17])
@pytest.mark.parametrize(("vocabulary", "features"), SHAPES)
@pytest.mark.parametrize("weight_format", ["float32", "int8"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_packed_weights_give_the_bits_of_the_whole_product(
    vocabulary: int, features: int, rows: int, weight_format: WeightFormat, has_bias: bool
) -> None:
    head, hidden = make(vocabulary, features, rows, weight_format, has_bias)
    if isinstance(head, TorchLinear):
        pytest.skip("there is no native library here")
    tokens, start, token = wanted_of(rows, vocabulary, seed=rows)
    assert torch.equal(sparse_head(hidden, head, start, token), gathered(head(hidden), tokens))


@pytest.mark.parametrize("weight_format", ["float32", "int8"])
def test_the_number_of_threads_changes_no_bit(weight_format: WeightFormat) -> None:
    head, hidden = make(300, 257, 9, weight_format, True)
    _, start, token = wanted_of(9, 300, seed=1)
    alone, before = sparse_head(hidden, head, start, token), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert all(torch.equal(sparse_head(hidden, head, start, token), alone) for _ in range(20))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 17])
@pytest.mark.parametrize(("vocabulary", "features"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_twin_agrees_with_the_whole_product(
    monkeypatch: pytest.MonkeyPatch, vocabulary: int, features: int, rows: int, dtype: WeightFormat
) -> None:
    monkeypatch.setenv("ESPALIER_KERNELS", "torch")
    head, hidden = torch_head(vocabulary, features, rows, dtype)
    tokens, start, token = wanted_of(rows, vocabulary, seed=rows)
    expected = gathered(head(hidden), tokens)
    rtol, atol = TOLERANCE[dtype]
    torch.testing.assert_close(sparse_head(hidden, head, start, token), expected, rtol=rtol, atol=atol)


def torch_head(vocabulary: int, features: int, rows: int, dtype: WeightFormat) -> tuple[TorchLinear, Tensor]:
    """Of any dtype by torch, with a bias."""
    random = torch.Generator().manual_seed(vocabulary * features + rows)
    weight = torch.randn(vocabulary, features, generator=random).to(getattr(torch, dtype))
    bias = torch.randn(vocabulary, generator=random).to(weight.dtype)
    return TorchLinear(weight, bias, False), torch.randn(rows, features, generator=random).to(weight.dtype)


def moved(head: TorchLinear, device: str) -> TorchLinear:
    """The same on a device."""
    assert head.bias_o is not None
    return TorchLinear(head.weight_oi.to(device), head.bias_o.to(device), False)


@pytest.mark.parametrize(
    "rows", [1, 2, 16, pytest.param(64, marks=pytest.mark.slow), pytest.param(257, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("vocabulary", "features"), [(1, 1), (37, 5), (61, 300)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kernel_agrees_with_its_twin(
    monkeypatch: pytest.MonkeyPatch,
    triton_device: str,
    vocabulary: int,
    features: int,
    rows: int,
    dtype: WeightFormat,
) -> None:
    head, hidden = torch_head(vocabulary, features, rows, dtype)
    # Hidden states may be a slice of something wider.
    wide = torch.zeros(rows, features + 9, dtype=hidden.dtype)
    wide[:, :features] = hidden
    _, start, token = wanted_of(rows, vocabulary, seed=rows)
    x, starts, tokens = (tensor.to(triton_device) for tensor in (wide, start, token))
    found = sparse_head(x[:, :features], moved(head, triton_device), starts, tokens)
    monkeypatch.setenv("ESPALIER_KERNELS", "torch")
    expected = sparse_head(hidden, head, start, token)
    rtol, atol = TOLERANCE[dtype]
    torch.testing.assert_close(found.cpu(), expected, rtol=rtol, atol=atol)


def test_a_row_is_the_same_bit_for_bit_in_every_batch(triton_device: str) -> None:
    head, hidden = torch_head(61, 300, 9, "float32")
    head = moved(head, triton_device)
    tokens, start, token = wanted_of(9, 61, seed=4)
    together = sparse_head(hidden.to(triton_device), head, start.to(triton_device), token.to(triton_device))
    for row, wanted in enumerate(tokens):
        alone = sparse_head(
            hidden[row : row + 1].to(triton_device),
            head,
            torch.tensor([0, len(wanted)], dtype=torch.int32, device=triton_device),
            wanted.int().to(triton_device),
        )
        assert torch.equal(alone, together[int(start[row]) : int(start[row + 1])])


@pytest.mark.parametrize("weight_format", DTYPES)
def test_no_rows_and_no_tokens_are_no_trouble(weight_format: WeightFormat) -> None:
    head, hidden = make(4, 6, 2, weight_format, False)
    nothing = torch.empty(0, dtype=torch.int32)
    assert sparse_head(hidden, head, torch.zeros(3, dtype=torch.int32), nothing).shape == (0,)
    room = torch.zeros(2, dtype=torch.int32)
    assert sparse_head(hidden[:0], head, room[:1], room).tolist() == [float("-inf")] * 2


@pytest.mark.parametrize("weight_format", DTYPES)
def test_what_is_wrong_is_named(weight_format: WeightFormat) -> None:
    head, hidden = make(4, 6, 2, weight_format, False)

    def call(start: list[int], token: list[int], x: Tensor = hidden) -> None:
        sparse_head(x, head, torch.tensor(start, dtype=torch.int32), torch.tensor(token, dtype=torch.int32))

    for start in ([0, 2, 1], [1, 1, 1], [0, 1, 4]):
        with pytest.raises(KernelError, match="start does not rise"):
            call(start, [0, 1, 2])
    for token in ([0, 4], [-1, 0]):
        with pytest.raises(KernelError, match="token has one that the layer has no output for"):
            call([0, 1, 2], token)
    with pytest.raises(KernelError, match="start has 2 entries"):
        call([0, 1], [0])
    with pytest.raises(KernelError, match=r"shape \(2, 5\)"):
        call([0, 1, 1], [0], hidden[:, :5])
    with pytest.raises(KernelError, match="int64"):
        sparse_head(hidden, head, torch.zeros(3, dtype=torch.int32), torch.zeros(1, dtype=torch.int64))


def test_the_kernel_compiles_for_sm90_without_spills() -> None:
    pointers = {"start": "*i32", "token": "*i32", "out": "*fp32"}
    sizes = dict.fromkeys(
        ("num_rows", "num_features", "num_tokens", "num_entries", "hidden_stride", "weight_stride"), "i32"
    )
    kernels = [
        Kernel(
            "espalier.kernels.triton.sparse_head",
            "sparse_head_kernel",
            {"hidden": f"*{dtype}", "weight": f"*{dtype}", "bias": f"*{dtype}", **pointers, **sizes},
            {"HAS_BIAS": has_bias, "STEPS": 9, "ENTRIES": 8, "BLOCK": 256},
            num_warps=8,
            aligned=("hidden", "weight", "bias", "start", "token", "out", "hidden_stride", "weight_stride"),
        )
        for dtype in ("fp32", "bf16", "fp16")
        for has_bias in (True, False)
    ]
    for report in compile_all(kernels):
        assert report.spill_bytes == 0
        assert report.shared_bytes <= SHARED_BYTES_OF_SM90
