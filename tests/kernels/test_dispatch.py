"""Who computes: the kernel on CUDA and where the interpreter is asked for, the twin everywhere else."""

from __future__ import annotations

import pytest
import torch

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError


@pytest.mark.parametrize(
    ("kernels", "interpret", "expected"),
    [(None, "1", False), ("", "1", False), ("torch", "1", False), ("triton", "0", False), ("triton", "1", True)],
)
def test_cpu_tensors_come_to_a_kernel_only_if_both_variables_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, kernels: str | None, interpret: str, expected: bool
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    if kernels is None:
        monkeypatch.delenv("ESPALIER_KERNELS", raising=False)
    else:
        monkeypatch.setenv("ESPALIER_KERNELS", kernels)
    assert use_triton(torch.zeros(1), torch.zeros(2)) is expected


def test_an_unknown_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_KERNELS", "cuda")
    with pytest.raises(KernelError, match="ESPALIER_KERNELS is 'cuda'"):
        use_triton(torch.zeros(1))


def test_tensors_on_several_devices_are_refused() -> None:
    with pytest.raises(KernelError, match="cpu, meta"):
        use_triton(torch.zeros(1), torch.zeros(1, device="meta"))


@pytest.mark.gpu
@pytest.mark.parametrize(("kernels", "expected"), [("", True), ("triton", True), ("torch", False)])
def test_cuda_tensors_come_to_a_kernel_unless_the_twins_are_chosen(
    monkeypatch: pytest.MonkeyPatch, kernels: str, expected: bool
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setenv("ESPALIER_KERNELS", kernels)
    assert use_triton(torch.zeros(1, device="cuda")) is expected
