"""Errors of the kernels: `KernelError`, an argument that an operation does not take. Its message names the argument."""

from __future__ import annotations


class KernelError(ValueError):
    """An argument's shape, dtype, stride or device is not what the operation takes."""
