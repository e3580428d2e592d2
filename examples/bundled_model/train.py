"""Trains the bundled model: in minutes on a GPU, in hours on two cores; ends well at the time that is given.

    python train.py --folder /some/folder --seconds 500 --device cuda --precision bfloat16 --compile --workers 14
    python train.py --folder /some/folder --steps 4000 --batch-tokens 4096 --workers 1
    python train.py --folder /some/folder --start-from ../../engine/bundled --drill-chunks 0 --seed 2 ...   # goes on

Matrices learn by Muon, the rest by AdamW. The learning rate is constant, then falls linearly to zero over the last part
of the run, which is measured in seconds or in steps. Everything needs torch, numpy, tokenizers and safetensors only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from dataset import Batch, Recipe, batch_source
from export import export, load_checkpoint
from measure import Exam, make_exams, marks
from network import Network, Shape
from rendering import BUNDLED
from torch import Tensor
from training import Training


@dataclass(frozen=True, slots=True)
class Plan:
    """How the run goes: its end in seconds or in steps, and the learning rate by the share that is done."""

    seconds: float | None
    steps: int | None
    decay_from: float = 0.2
    warmup: float = 0.01

    def done(self, elapsed_s: float, step: int) -> float:
        """Share of the run that is done; 1 is the end."""
        shares = [elapsed_s / self.seconds] if self.seconds else []
        shares += [step / self.steps] if self.steps else []
        return min(1.0, max(shares))

    def rate(self, done: float) -> float:
        """Share of the peak learning rate."""
        if done < self.warmup:
            return max(done, 0.002) / self.warmup
        return 1.0 if done < self.decay_from else max(0.0, (1.0 - done) / (1.0 - self.decay_from))


def compile_layers(training: Training, batches: list[Batch]) -> None:
    """Have the layers compiled, for any width of a batch; where that fails, go on without.

    A compiler looks at several batches before it believes that a size may change.
    """
    network, began = training.network, time.monotonic()
    plain = list(network.layers)
    network.layers = [torch.compile(layer, dynamic=True) for layer in plain]
    try:
        for batch in batches:
            training.loss(batch)[0].backward()
        training.network.zero_grad(set_to_none=True)
        print(f"compiled in {time.monotonic() - began:.0f} s", flush=True)
    except Exception as error:  # compilers fail in many ways, and training does not need one
        network.layers = plain
        print(f"not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)


@dataclass(slots=True)
class Log:
    """Prints loss and speed now and then."""

    every_s: float
    began: float
    next_at: float = 0.0
    seen: int = 0
    at: float = 0.0
    waited_s: float = 0.0

    def __call__(self, training: Training, loss: Tensor, done: float) -> None:
        now = time.monotonic() - self.began
        if now < self.next_at:
            return
        passed = max(now - self.at, 1e-9)
        speed, waited = (training.tokens - self.seen) / passed, self.waited_s / passed
        print(
            f"{now:6.1f} s  {done:5.1%}  step {training.step}  loss {float(loss):.4f}  "
            f"{training.tokens / 1e6:.1f} M tokens  {speed:,.0f} tokens/s  {waited:.0%} waiting for data",
            flush=True,
        )
        self.next_at, self.seen, self.at, self.waited_s = now + self.every_s, training.tokens, now, 0.0


def show_marks(training: Training, exams: dict[str, list[Exam]], most: int | None = None) -> None:
    """Print how often answers are exact."""
    plain, compiled = list(training.network.model.layers), training.network.layers
    training.network.layers = plain
    precision = torch.bfloat16 if training.is_half else torch.float32
    for measure, papers in exams.items():
        chosen = papers if most is None else papers[:: max(1, len(papers) // most)]
        found = marks(training.network, chosen, training.device, precision)
        print(f"  {measure}: " + ", ".join(f"{kind} {share:.1%}" for kind, share in found.items()), flush=True)
    training.network.layers = compiled


def run(
    training: Training, plan: Plan, source: Iterator[Batch], accumulate: int, log: Log, look: Callable[[float], None]
) -> None:
    """Train to the end of the plan."""
    while (done := plan.done(time.monotonic() - log.began, training.step)) < 1.0:
        began = time.monotonic()
        batches = [next(source) for _ in range(accumulate)]
        log.waited_s += time.monotonic() - began
        loss = training.learn(batches, plan.rate(done))
        log(training, loss, done)
        look(done)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the checkpoint and training.pt are written")
    parser.add_argument("--tokenizer", type=Path, default=BUNDLED / "tokenizer.json")
    parser.add_argument("--seconds", type=float, help="length of the run; the start is not counted")
    parser.add_argument("--steps", type=int, help="length of the run, where it is not given in seconds")
    parser.add_argument("--decay-from", type=float, default=0.2, help="share of the run after which the rate falls")
    parser.add_argument("--batch-tokens", type=int, default=65_536, help="of each of the batches of a step")
    parser.add_argument("--accumulate", type=int, default=2, help="batches of a step")
    parser.add_argument("--row-len", type=int, default=1280, help="longer dialogues are cut")
    parser.add_argument("--matrix-rate", type=float, default=0.02)
    parser.add_argument("--other-rate", type=float, default=0.004)
    parser.add_argument("--drill-chunks", type=int, default=30, help="so many chunks have drills among their rows")
    parser.add_argument(
        "--few-tools", type=float, default=0.0, help="share of dialogues that are calls of at most three tools"
    )
    parser.add_argument("--hidden-size", type=int, default=Shape().hidden_size)
    parser.add_argument("--layers", type=int, default=Shape().num_hidden_layers)
    parser.add_argument("--start-from", type=Path, help="a checkpoint to begin with, instead of random weights")
    parser.add_argument("--workers", type=int, default=1, help="processes that make data")
    parser.add_argument(
        "--again", type=int, default=0, help="how often a batch may come again where no new one is ready"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--exams", type=int, default=150, help="held-out dialogues of each kind, to look on and at the end"
    )
    parser.add_argument("--log-every", type=float, default=5.0, help="seconds between two lines")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="have torch compile the layers")
    parser.add_argument("--resume", action="store_true", help="go on from training.pt in the folder")
    parser.add_argument(
        "--save-every", type=float, default=0.0, help="seconds between two states in training.pt; 0: none"
    )
    given = parser.parse_args()
    if (given.seconds is None) == (given.steps is None):
        parser.error("give the length of the run by one of --seconds and --steps")
    return given


def _shape(given: argparse.Namespace) -> Shape:
    """The shipped shape, or another for trying things out."""
    return Shape(
        hidden_size=given.hidden_size, num_hidden_layers=given.layers, intermediate_size=given.hidden_size * 5 // 2
    )


def main() -> None:
    """Train by the command line, and write the checkpoint."""
    given, began = arguments(), time.monotonic()
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(given.seed)
    torch.set_float32_matmul_precision("high")
    network = load_checkpoint(given.start_from) if given.start_from else Network(_shape(given))
    training = Training(network, "cpu", given.matrix_rate, given.other_rate, given.precision)
    state_file = given.folder / "training.pt"
    if given.resume:
        training.load(state_file)
    recipe = Recipe(
        batch_tokens=given.batch_tokens, drill_chunks=given.drill_chunks, chunk_tokens=32 * given.batch_tokens,
        row_len=given.row_len, few_tools=given.few_tools,
    )  # fmt: skip
    looks, saves = [0.15, 0.35, 0.6, 0.8], given.save_every

    def look(done: float) -> None:
        nonlocal saves
        if looks and done >= looks[0]:
            del looks[0]
            show_marks(training, exams, most=100)
            export(network, given.folder, given.tokenizer)
        if saves and time.monotonic() - began > saves:
            saves += given.save_every
            training.save(state_file)

    # Processes are forked before the device is touched. A resumed run draws other dialogues than the one before.
    with batch_source(given.tokenizer, given.seed + training.step, recipe, given.workers, given.again) as source:
        exams = make_exams(given.tokenizer, given.exams)
        training.move(given.device)
        if given.compile:
            compile_layers(training, [next(source) for _ in range(6)])
        size = sum(parameter.numel() for parameter in network.parameters())
        print(f"{size:,} parameters; ready after {time.monotonic() - began:.0f} s", flush=True)
        plan = Plan(given.seconds, given.steps, given.decay_from)
        run(training, plan, source, given.accumulate, Log(given.log_every, time.monotonic()), look)
    export(network, given.folder, given.tokenizer)
    print(f"{training.step} steps, {training.tokens:,} tokens -> {given.folder}", flush=True)
    show_marks(training, exams)
    if given.save_every:
        training.save(state_file)


if __name__ == "__main__":
    main()
