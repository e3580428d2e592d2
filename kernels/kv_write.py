"""Writes keys and values into their slots. Legend: T tokens, N KV heads, D head size, S slots."""

from __future__ import annotations

from torch import Tensor

from espalier.kernels.errors import KernelError


def kv_write(k_tnd: Tensor, v_tnd: Tensor, k_pool_snd: Tensor, v_pool_snd: Tensor, out_slots_t: Tensor) -> None:
    """Put token t into slot `out_slots_t[t]`; the slots of one call differ."""
    if k_tnd.shape[1:] != k_pool_snd.shape[1:]:
        raise KernelError(f"keys have shape {tuple(k_tnd.shape)}, the pool {tuple(k_pool_snd.shape)}")
    k_pool_snd[out_slots_t] = k_tnd.to(k_pool_snd.dtype)
    v_pool_snd[out_slots_t] = v_tnd.to(v_pool_snd.dtype)
