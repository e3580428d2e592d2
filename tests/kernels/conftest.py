"""Both ways of computing on the CPU, and where Triton kernels run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from espalier.kernels import native
from tests.kernels.interpreter import skip_without_triton


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
    skip_without_triton(request.param)
    monkeypatch.setenv("ESPALIER_KERNELS", "triton")
    device: str = request.param
    return device


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`twin(function, *arguments)`: what a public function's torch twin gives, on whatever device."""

    def call(function: Callable[..., Any], *arguments: object, **options: object) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("ESPALIER_KERNELS", "torch")
            return function(*arguments, **options)

    return call
