"""Muon for many matrices at once: those of one shape are stacked, so a step is a few batched products."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic Newton-Schulz iteration (Keller Jordan, 2024)."""


def orthogonalised(x_nrc: Tensor, dtype: torch.dtype) -> Tensor:
    """Each matrix [R, C] of a stack with its singular values near 1."""
    x = x_nrc.to(dtype)
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = _A * x + (_B * a + _C * a @ a) @ x
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Keller Jordan, 2024); parameters are matrices, and all have gradients."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        groups: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            groups.setdefault(parameter.shape, []).append(parameter)
        super().__init__(
            [{"params": together} for together in groups.values()],
            {"lr": lr, "momentum": momentum, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = group["params"]
            state = self.state[parameters[0]]
            gradient = torch.stack([parameter.grad for parameter in parameters])
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradient)
            momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
            dtype = torch.bfloat16 if gradient.is_cuda else torch.float32
            update = orthogonalised(gradient.lerp(momentum, group["momentum"]), dtype).to(gradient.dtype)
            scale = max(1.0, gradient.shape[1] / gradient.shape[2]) ** 0.5
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, list(update.unbind()), alpha=-group["lr"] * scale)
