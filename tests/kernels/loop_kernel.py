"""The smallest kernel that asks triton's interpreter for what kernels need of it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def loop_kernel(number, out):  # type: ignore[no-untyped-def]
    """Sum the numbers below the one in memory."""
    total = 0
    for at in range(tl.load(number)):
        total += at
    tl.store(out, total)
