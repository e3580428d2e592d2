"""Errors of the kernels.

KernelError(ValueError)         an argument that an operation does not take; the message names the argument
NativeBuildError(RuntimeError)  the native library cannot be built or loaded here; the torch twins do its work
"""

from __future__ import annotations


class KernelError(ValueError):
    """An argument's shape, dtype, stride, device or value is not what the operation takes."""


class NativeBuildError(RuntimeError):
    """No compiler, or one that fails on the sources, or a processor that they are not for."""
