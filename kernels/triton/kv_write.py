"""Writes keys and values into their slots, both in one launch. Legend as in `kernels.kv_write`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

TILE = 2048


@triton.jit
def kv_write_kernel(
    k, v, k_pool, v_pool, out_slots, num_heads, k_token_stride, k_head_stride, v_token_stride, v_head_stride,
    k_slot_stride, k_pool_head_stride, v_slot_stride, v_pool_head_stride,
    SIZE: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """HEADS heads of one token; SIZE is D and BLOCK the power of two above it. All last strides are 1."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(out_slots + token)
    head = (tl.program_id(1) * HEADS + tl.arange(0, HEADS)).to(tl.int64)[:, None]
    at = tl.arange(0, BLOCK)[None, :]
    inside = (head < num_heads) & (at < SIZE)
    key = tl.load(k + token * k_token_stride + head * k_head_stride + at, mask=inside)
    value = tl.load(v + token * v_token_stride + head * v_head_stride + at, mask=inside)
    k_place = k_pool + slot * k_slot_stride + head * k_pool_head_stride + at
    v_place = v_pool + slot * v_slot_stride + head * v_pool_head_stride + at
    tl.store(k_place, key.to(k_pool.dtype.element_ty), mask=inside)
    tl.store(v_place, value.to(v_pool.dtype.element_ty), mask=inside)


def kv_write(k_tmd: Tensor, v_tmd: Tensor, k_pool_smd: Tensor, v_pool_smd: Tensor, out_slots_t: Tensor) -> None:
    """Put token t into slot `out_slots_t[t]`."""
    k, v = (x if x.stride(2) == 1 else x.contiguous() for x in (k_tmd, v_tmd))
    num_tokens, num_heads, size = k.shape
    if not k.numel():
        return
    block = triton.next_power_of_2(size)
    heads = min(triton.next_power_of_2(num_heads), max(1, TILE // block))
    kv_write_kernel[num_tokens, triton.cdiv(num_heads, heads)](
        k, v, k_pool_smd, v_pool_smd, out_slots_t, num_heads, k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        k_pool_smd.stride(0), k_pool_smd.stride(1), v_pool_smd.stride(0), v_pool_smd.stride(1),
        SIZE=size, HEADS=heads, BLOCK=block,
    )  # fmt: skip
