"""Writes keys and values into their slots. Legend: T tokens, M KV heads, D head size, S slots."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError


def kv_write(k_tmd: Tensor, v_tmd: Tensor, k_pool_smd: Tensor, v_pool_smd: Tensor, out_slots_t: Tensor) -> None:
    """Put token t into slot `out_slots_t[t]` (int64), in the pools' dtype; the slots of one call differ.

    The pools may lie in any strides with 1 as the last, keys and values in any. On a GPU nobody looks whether the pool
    has the slots.
    """
    _check(k_tmd, v_tmd, k_pool_smd, v_pool_smd, out_slots_t)
    if use_triton(k_tmd, v_tmd, k_pool_smd, v_pool_smd, out_slots_t):
        from espalier.kernels.triton import kv_write as kernel

        return kernel.kv_write(k_tmd, v_tmd, k_pool_smd, v_pool_smd, out_slots_t)
    k_pool_smd[out_slots_t] = k_tmd.to(k_pool_smd.dtype)
    v_pool_smd[out_slots_t] = v_tmd.to(v_pool_smd.dtype)
    return None


def _check(k_tmd: Tensor, v_tmd: Tensor, k_pool_smd: Tensor, v_pool_smd: Tensor, out_slots_t: Tensor) -> None:
    for new, pool, what in ((k_tmd, k_pool_smd, "keys"), (v_tmd, v_pool_smd, "values")):
        if new.ndim != 3 or pool.ndim != 3 or new.shape[1:] != pool.shape[1:]:
            raise KernelError(f"{what} have shape {tuple(new.shape)}, the pool {tuple(pool.shape)}")
        if pool.stride(2) != 1 or not (new.is_floating_point() and pool.is_floating_point()):
            raise KernelError(
                f"the pool of {what} is {pool.dtype} with last stride {pool.stride(2)}: floats and 1 are needed"
            )
    if out_slots_t.dtype != torch.int64 or not len(k_tmd) == len(v_tmd) == len(out_slots_t):
        raise KernelError(
            f"out_slots are {out_slots_t.dtype} {tuple(out_slots_t.shape)} for {len(k_tmd)} keys and {len(v_tmd)} "
            "values: int64, one for each, is needed"
        )
