"""Where Triton kernels run in tests: in triton's interpreter, or compiled on a CUDA device."""

from __future__ import annotations

import functools
import os

import pytest
import torch


def skip_without_triton(device: str) -> None:
    """Skip the test where the kernels can't run on `device`, "cpu" for the interpreter or "cuda"."""
    is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device == "cuda" and (is_interpreted or not torch.cuda.is_available()):
        pytest.skip("needs a CUDA device, and triton's compiler (pytest -m gpu)")
    if device == "cpu" and not is_interpreted:
        pytest.skip("triton compiles in this process: its interpreter can't be used as well")
    if device == "cpu" and not _interpreter_runs():
        pytest.skip("this triton's interpreter does not run with this numpy (3.6 doesn't with 2.4)")


@functools.cache
def _interpreter_runs() -> bool:
    """Try a loop whose bound is a value in memory."""
    # Here, because triton must not be imported before it is known whether it is to interpret.
    from triton.runtime.errors import InterpreterError

    from tests.kernels.loop_kernel import loop_kernel

    number, out = torch.tensor([4], dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    try:
        loop_kernel[(1,)](number, out)
    except InterpreterError:
        return False
    return out.item() == 6
