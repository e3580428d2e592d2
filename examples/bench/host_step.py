"""What the host adds to a step of a device that runs ahead, free and constrained: a device that only takes its time.

    python examples/bench/host_step.py TEKKEN.json --schemas SCHEMAS.jsonl.gz [--device-us 1300] [--batch 64]

The model is none: a pass takes `--device-us`, and who asks for its tokens waits until it is over. All else is the
engine's as it is on a GPU: steps are launched before the last one is told, masks made meanwhile. Both arms say the same
instances, as in `espalier bench structured`; they take turns, and the fastest pass of each counts. The sparse head,
copies to a device and the sampler's own launch are left out. A step's time less the device's is what the host did not
hide; `waits` is what the host waited for the device, 0 where the host is what takes longest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from espalier.engine import Engine, EngineOptions
from espalier.engine.batch import Batch
from espalier.engine.kv_pool import KVPool
from espalier.engine.loader import Loaded, load
from espalier.engine.random_checkpoint import Shape, write_random_checkpoint
from espalier.engine.sampler import Drawn
from espalier.engine.sequence import Sequence
from espalier.engine.taught_sampler import TaughtSampler
from espalier.gateway.bench.mask_workload import cases_of
from espalier.gateway.bench.positive import positive
from espalier.gateway.bench.structured import STRUCTURAL, Pass, Script, run_pass, scripts_of
from espalier.gateway.bench.tekken import read_tekken

VOCABULARY = 131_072
SMALL = Shape(64, 1, 4, 2, 96, VOCABULARY, 1024)


class Device:
    """Computes nothing, and is busy until `due_s` with it."""

    def __init__(self, model: Any, pass_s: float) -> None:
        self.config, self._pass_s = model.config, pass_s
        self.due_s = self.waited_s = 0.0

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Begin a pass behind the last one; the logits are nobody's."""
        self.due_s = max(time.perf_counter(), self.due_s) + self._pass_s
        return torch.empty(len(batch.logit_rows), 0)

    def wait(self) -> None:
        """Until all passes are over."""
        began = time.perf_counter()
        while time.perf_counter() < self.due_s:
            pass
        self.waited_s += time.perf_counter() - began


class WaitingSampler(TaughtSampler):
    """Says the lessons when the device is through."""

    device: Device

    def sample(
        self,
        logits_rv: Tensor,
        sequences: list[Sequence],
        masks: NDArray[np.int32] | None = None,
        is_masked: NDArray[np.bool_] | None = None,
        *,
        attempt: int = 0,
    ) -> list[Drawn]:
        """As `TaughtSampler.sample`, without drawing."""
        said = self.teach(sequences, masks, is_masked)
        self.device.wait()
        return [Drawn(token_id) for token_id in said]


def measure(loaded: Loaded, options: EngineOptions, scripts: dict[str, Script], args: argparse.Namespace) -> Table:
    """Both arms, in turns."""
    device = Device(loaded.model, args.device_us * 1e-6)
    sampler = WaitingSampler(loaded.tokenizer.end_token_ids, loaded.tokenizer, scripts)
    sampler.device = device
    standing_in: Any = device
    arms = {
        name: Engine(options, loaded=replace(loaded, model=standing_in), sampler=sampler, runs_ahead=not args.in_turns)
        for name in ("free", "constrained")
    }
    best: dict[str, tuple[Pass, float]] = {}
    for _ in range(args.repeat + 1):  # the first one compiles grammars
        for name, engine in arms.items():
            sampler.forget()
            device.waited_s = 0.0
            one = run_pass(engine, scripts, name == "constrained", args.batch)
            if name not in best or one.seconds < best[name][0].seconds:
                best[name] = one, device.waited_s
    free = best["free"][0]
    report = Table(title=f"batch {args.batch}, a device that takes {args.device_us} us", title_justify="left")
    for column in ("arm", "steps", "us a step", "not hidden", "waits", "a step, of free", "the same bytes, of free"):
        report.add_column(column, justify="left" if column == "arm" else "right")
    for name, (one, waited_s) in best.items():
        step_us = 1e6 * one.seconds / one.steps
        report.add_row(
            name,
            str(one.steps),
            f"{step_us:.0f}",
            f"{step_us - args.device_us:.0f}",
            f"{1e6 * waited_s / one.steps:.0f}",
            f"{one.seconds / one.steps / (free.seconds / free.steps):.2f}",
            f"{one.seconds / free.seconds:.2f}",
        )
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path, help="a tekken.json")
    parser.add_argument("--schemas", type=Path, required=True, help="lines of {id, schema, tests}, .gz or not")
    parser.add_argument("--every", type=positive, default=3, help="take each so many-th schema")
    parser.add_argument("--times", type=positive, default=8, help="so many requests for each instance")
    parser.add_argument("--batch", type=positive, default=64)
    parser.add_argument("--device-us", type=positive, default=1300, help="what a pass takes on the device")
    parser.add_argument("--in-turns", action="store_true", help="host and device wait for each other, as on a CPU")
    parser.add_argument("--repeat", type=positive, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = read_tekken(args.tokenizer, VOCABULARY)
        model = str(write_random_checkpoint(Path(folder), SMALL, tokenizer=tokenizer))
        options = EngineOptions(model=model, device="cpu", prefix_cache=False, sparse_head=False, drafts=False)
        loaded = load(options)
        scripts = [
            script
            for script in scripts_of(cases_of(args.schemas, args.every), loaded.tokenizer, 400)
            if script.structural >= STRUCTURAL
        ]
        several = sorted(scripts * args.times, key=lambda script: -len(script.token_ids))
        report = measure(loaded, options, {str(at): script for at, script in enumerate(several)}, args)
    Console(width=120).print(report)


if __name__ == "__main__":
    main()
