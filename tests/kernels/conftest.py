"""Both ways of computing on the CPU, and where Triton kernels run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from espalier.kernels import native


@pytest.fixture(params=["native", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The native library, and plain torch."""
    native.library.cache_clear()
    if request.param == "torch":
        monkeypatch.setenv("ESPALIER_NATIVE", "0")
    elif native.library() is None:
        pytest.skip("there is no native library here")
    yield request.param
    native.library.cache_clear()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def triton_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where Triton kernels run: "cpu" in triton's interpreter, "cuda" (with `-m gpu`) on the device.

    In a test that takes it, public functions given tensors on that device dispatch to their kernel.
    """
    device: str = request.param
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device == "cpu" and not interpreted:
        pytest.skip("triton compiles in this process: its interpreter can't be used as well")
    if device == "cuda" and (interpreted or not torch.cuda.is_available()):
        pytest.skip("needs a CUDA device, and triton's compiler (pytest -m gpu)")
    monkeypatch.setenv("ESPALIER_KERNELS", "triton")
    return device


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`twin(function, *arguments)`: what a public function's torch twin gives, on whatever device."""

    def call(function: Callable[..., Any], *arguments: object, **options: object) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("ESPALIER_KERNELS", "torch")
            return function(*arguments, **options)

    return call
