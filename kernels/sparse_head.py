"""The sparse head: hidden states times only those rows of the output matrix whose tokens are wanted.

Legend: R rows, H hidden features, V vocabulary, E tokens wanted in all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError
from espalier.kernels.linear import Linear, TorchLinear
from espalier.kernels.packed_linear import PackedLinear

# Gathered rows of the matrix that the twin holds at once.
BLOCK = 4096


def sparse_head(hidden_rh: Tensor, head: Linear, start: Tensor, token: Tensor) -> Tensor:
    """Logits float32 [E]: row r's are those of the tokens token[start[r]] ... token[start[r+1] - 1], in that order.

    `start` is int32 [R+1] and rises from 0; `token` is int32 [E]. What lies beyond start[R] becomes minus infinity, so
    that a step of fixed shape can leave room.

    Packed weights give the bits of the whole product. Others are summed up in float32 and rounded to their dtype, as
    the whole product is: the two agree up to the order of the sum. Raises KernelError for shapes and dtypes and, on the
    CPU, for starts and tokens that there are not; a GPU can't raise, and makes such tokens' logits minus infinity.
    """
    if isinstance(head, PackedLinear):
        return head.pick(hidden_rh, start, token)
    if not isinstance(head, TorchLinear):
        raise KernelError(f"the head is a {type(head).__name__}, one of `pack_linear` is needed")
    _check(hidden_rh, head, start, token)
    if use_triton(hidden_rh, head.weight_oi, start, token):
        from espalier.kernels.triton.sparse_head import sparse_head as kernel

        return kernel(hidden_rh, head.weight_oi, head.bias_o, start, token)
    if hidden_rh.device.type == "cpu":
        _check_wanted(start, token, head.out_features)
    return _torch_sparse_head(hidden_rh, head.weight_oi, head.bias_o, start, token)


def _torch_sparse_head(
    hidden_rh: Tensor, weight_vh: Tensor, bias_v: Tensor | None, start: Tensor, token: Tensor
) -> Tensor:
    if not len(hidden_rh):
        return torch.full((len(token),), float("-inf"), device=token.device)
    entry = torch.arange(len(token), device=token.device, dtype=torch.int32)
    row = torch.searchsorted(start[1:], entry, right=True)
    is_wanted = (row < len(hidden_rh)) & (token >= 0) & (token < len(weight_vh))
    row, known = row.clamp(max=len(hidden_rh) - 1), token.clamp(0, len(weight_vh) - 1)
    parts = [
        (hidden_rh[rows].float() * weight_vh[tokens].float()).sum(1)
        for rows, tokens in zip(row.split(BLOCK), known.split(BLOCK), strict=True)
    ]
    logits = torch.cat(parts)
    if bias_v is not None:
        logits = logits + bias_v[known].float()
    return logits.to(weight_vh.dtype).float().masked_fill_(~is_wanted, float("-inf"))


def _check(hidden_rh: Tensor, head: TorchLinear, start: Tensor, token: Tensor) -> None:
    if hidden_rh.ndim != 2 or hidden_rh.shape[1] != head.in_features:
        raise KernelError(f"hidden has shape {tuple(hidden_rh.shape)}, [rows, {head.in_features}] is needed")
    if hidden_rh.dtype != head.weight_oi.dtype:
        raise KernelError(f"hidden is {hidden_rh.dtype}, the head {head.weight_oi.dtype}")
    for name, tensor in (("start", start), ("token", token)):
        if tensor.dtype != torch.int32 or tensor.ndim != 1 or not tensor.is_contiguous():
            raise KernelError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}, a contiguous {torch.int32} vector is needed"
            )
    if len(start) != len(hidden_rh) + 1:
        raise KernelError(f"start has {len(start)} entries, {len(hidden_rh)} rows need {len(hidden_rh) + 1}")
    devices = {tensor.device for tensor in (hidden_rh, head.weight_oi, start, token)}
    if len(devices) > 1:
        raise KernelError(f"hidden, head, start and token lie on {sorted(map(str, devices))}, one device is needed")


def _check_wanted(start: Tensor, token: Tensor, num_tokens: int) -> None:
    if int(start[0]) != 0 or bool((start[1:] < start[:-1]).any()) or int(start[-1]) > len(token):
        raise KernelError("start does not rise from 0 to at most the number of tokens")
    wanted = token[: int(start[-1])]
    if len(wanted) and (int(wanted.min()) < 0 or int(wanted.max()) >= num_tokens):
        raise KernelError("token has one that the layer has no output for")
