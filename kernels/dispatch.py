"""Who computes an operation: its Triton kernel, or its torch twin in the module that was called.

ESPALIER_KERNELS=torch leaves everything to the twins. ESPALIER_KERNELS=triton, with TRITON_INTERPRET=1 beside it, also
runs the kernels on the CPU, in triton's interpreter: the tests do so.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os

from torch import Tensor

from espalier.kernels.errors import KernelError

logger = logging.getLogger(__name__)

CHOICES = ("", "torch", "triton")


@functools.cache
def has_triton() -> bool:
    """Whether triton can be imported; that it can't is logged once."""
    try:
        importlib.import_module("triton")
    except ImportError as error:
        logger.warning("triton is not available, torch does the kernels' work, slower: %s", error)
        return False
    return True


def use_triton(*tensors: Tensor) -> bool:
    """Whether the Triton kernel takes these tensors, which must all be on one device.

    True on CUDA where there is triton; on the CPU only for the interpreter, when both variables ask for it.
    """
    device = tensors[0].device
    if any(tensor.device != device for tensor in tensors):
        raise KernelError(f"tensors on {', '.join(str(x.device) for x in tensors)}: one device for all is needed")
    choice = os.environ.get("ESPALIER_KERNELS", "")
    if choice not in CHOICES:
        raise KernelError(f"ESPALIER_KERNELS is {choice!r}: torch, triton or nothing is expected")
    if choice == "torch":
        return False
    if device.type == "cpu":
        return choice == "triton" and os.environ.get("TRITON_INTERPRET") == "1" and has_triton()
    return device.type == "cuda" and has_triton()
