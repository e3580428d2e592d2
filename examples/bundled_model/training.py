"""A network with its optimizers: one step of learning, and all of it saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from dataset import Batch
from network import Network
from numpy.typing import NDArray
from optimizer import Muon
from torch import Tensor


class Training:
    """Network, optimizers and step; saved and loaded whole."""

    def __init__(self, network: Network, device: str, matrix_rate: float, other_rate: float, precision: str) -> None:
        self.device, self.is_half, self.step, self.tokens = device, precision == "bfloat16", 0, 0
        self.can_pin = False
        self.network = network.to(device)
        matrices = [p for n, p in network.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in network.named_parameters() if p.ndim != 2 or "embed" in n]
        self.rates = (matrix_rate, other_rate)
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=matrix_rate),
            torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def move(self, device: str) -> None:
        """Go on on another device; what the optimizers know is moved with their parameters."""
        if device != self.device:
            states = [optimizer.state_dict() for optimizer in self.optimizers]
            self.device, self.can_pin = device, _can_pin()
            self.network.to(device)
            for optimizer, state in zip(self.optimizers, states, strict=True):
                optimizer.load_state_dict(state)

    def _there(self, array: NDArray[Any]) -> Tensor:
        """An array on the device. What is copied from pinned memory does not wait for the work before it."""
        tensor = torch.from_numpy(array)
        return (tensor.pin_memory() if self.can_pin else tensor).to(self.device, non_blocking=True)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted sum of the losses of a batch, and the sum of its weights."""
        ids, wanted = self._there(batch.token_ids).long(), self._there(batch.wanted).long()
        weights = self._there(batch.weights)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.is_half):
            logits = self.network(ids[:, :-1].contiguous(), wanted)
        losses = F.cross_entropy(logits.float(), ids[:, 1:].reshape(-1)[wanted], reduction="none")
        return (losses * weights).sum(), weights.sum()

    def learn(self, batches: list[Batch], rate: float) -> Tensor:
        """One step on several batches; returns their mean weighted loss, on the device."""
        for optimizer, peak in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        weight = float(sum(batch.weights.sum() for batch in batches))
        total = torch.zeros((), device=self.device)
        for batch in batches:
            loss, _ = self.loss(batch)
            (loss / weight).backward()
            total += loss.detach() / weight
            self.tokens += batch.token_ids[:, 1:].size
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def save(self, path: Path) -> None:
        """Write everything; the file is never half written."""
        state = {
            "network": self.network.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]


def _can_pin() -> bool:
    """Whether memory can be pinned here; some virtual machines forbid it."""
    try:
        torch.zeros(1).pin_memory()
    except RuntimeError:
        return False
    return True
