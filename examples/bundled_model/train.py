"""Trains the bundled model: on two CPU cores in hours, on a GPU in minutes; deterministic, and resumable at any step.

    python examples/bundled_model/train.py --folder /some/folder --steps 4600 --decay-from 2400 --long-from 4300

Matrices learn by Muon (Keller Jordan, 2024), the rest by AdamW. The learning rate is constant, then falls linearly to
zero from `--decay-from` on; both numbers may be changed when resuming, so a run can be ended well at any time. From
`--long-from` on rows have 2,048 tokens instead of `--row-len`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from threading import Event

import torch
import torch.nn.functional as F
from dataset import Phase, batches
from network import Network, Shape
from torch import Tensor

LONG_ROW = 2048
DRILLS = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How the run goes; the learning rate is a function of it and the step."""

    steps: int
    decay_from: int
    long_from: int
    row_len: int
    batch_tokens: int
    drills_until: int = 0
    warmup: int = 40

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at `step`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 1.0 if step < self.decay_from else max(0.0, (self.steps - step) / (self.steps - self.decay_from))

    def phase(self, step: int) -> Phase:
        """The kind of rows at `step`."""
        row_len = LONG_ROW if step >= self.long_from else self.row_len
        return Phase(row_len, DRILLS if step < self.drills_until else 0.0)


class Training:
    """Network, optimizers and step; saved and loaded whole."""

    def __init__(
        self, shape: Shape, seed: int, device: str, matrix_rate: float, other_rate: float, precision: str
    ) -> None:
        torch.manual_seed(seed)
        self.seed, self.device, self.precision, self.step, self.tokens = seed, device, precision, 0, 0
        self.network = Network(shape).to(device)
        matrices = [p for n, p in self.network.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.network.named_parameters() if p.ndim != 2 or "embed" in n]
        self.rates = (matrix_rate, other_rate)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=matrix_rate, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"),
            torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def learn(self, rows: Tensor, weights: Tensor, rate: float) -> float:
        """One step on rows [B, T+1]; returns the mean loss on the tokens the model has to write."""
        for optimizer, peak in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        weights = weights[:, 1:]
        wanted = weights > 0
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.network(rows[:, :-1], wanted)
        losses = F.cross_entropy(logits.float(), rows[:, 1:][wanted], reduction="none")
        weight = weights[wanted]
        ((losses * weight).sum() / weight.sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += rows[:, 1:].numel()
        return float(losses.detach()[weight == 1].mean())

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


def run(training: Training, plan: Plan, folder: Path, save_every: int, stop: Event) -> None:
    """Train to the end of the plan, or until `stop` is set, printing a line now and then."""
    while training.step < plan.steps and not stop.is_set():
        phase = plan.phase(training.step)
        source = batches(training.seed, training.step, max(1, plan.batch_tokens // phase.row_len), phase)
        began, seen = time.monotonic(), training.tokens
        while training.step < plan.steps and plan.phase(training.step) == phase:
            rows, weights = (
                torch.from_numpy(a.astype(kind)).to(training.device)
                for a, kind in zip(next(source), ("int64", "float32"), strict=True)
            )
            loss = training.learn(rows, weights, plan.rate(training.step))
            if training.step % 10 == 0:
                speed = (training.tokens - seen) / (time.monotonic() - began)
                left = (plan.steps - training.step) * plan.batch_tokens / speed
                print(
                    f"step {training.step}/{plan.steps}  loss {loss:.4f}  {training.tokens / 1e6:.2f} M tokens  "
                    f"{speed:,.0f} tokens/s  {left / 60:.0f} min left",
                    flush=True,
                )
            if training.step % save_every == 0 or training.step == plan.steps or stop.is_set():
                training.save(folder / "training.pt")
            if stop.is_set():
                break
        source.close()  # type: ignore[attr-defined]


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where training.pt is written and resumed from")
    parser.add_argument("--steps", type=int, default=4600)
    parser.add_argument("--decay-from", type=int, default=2400)
    parser.add_argument("--long-from", type=int, default=4300)
    parser.add_argument("--row-len", type=int, default=384)
    parser.add_argument(
        "--drills-until", type=int, default=1500, help="a quarter of the rows are copying drills before"
    )
    parser.add_argument("--batch-tokens", type=int, default=2304)
    parser.add_argument("--matrix-rate", type=float, default=0.02)
    parser.add_argument("--other-rate", type=float, default=0.004)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32",
        help="of the matrix products; bfloat16 for a GPU or a CPU with avx512_bf16, where it is faster",
    )  # fmt: skip
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    training = Training(Shape(), given.seed, given.device, given.matrix_rate, given.other_rate, given.precision)
    if (given.folder / "training.pt").exists():
        training.load(given.folder / "training.pt")
    plan = Plan(given.steps, given.decay_from, given.long_from, given.row_len, given.batch_tokens, given.drills_until)
    stop = Event()
    for number in (SIGINT, SIGTERM):
        signal(number, lambda *_: stop.set())
    run(training, plan, given.folder, given.save_every, stop)


if __name__ == "__main__":
    main()
