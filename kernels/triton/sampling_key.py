"""Keys of logits: integers whose order is the floats', less the low bits that the logits' type has not."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def key_of(x, shift):
    """The key int32 of floats; the two zeros are equal, and have one key."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits) >> shift


@triton.jit
def value_of(key, shift):
    """The float of a key."""
    bits = (key << shift) | tl.where(key < 0, (1 << shift) - 1, 0)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.float32, bitcast=True)


@triton.jit
def key_below(x, shift):
    """The largest key whose float is less than x."""
    key = key_of(x, shift)
    return tl.where(value_of(key, shift) < x, key, key - 1)
