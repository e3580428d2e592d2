"""Fused sampling on a CUDA device: 256 rows of 131,072 bfloat16 logits, by what is asked for, flat and peaked, masked.

    python examples/bench/kernels/sampling.py [--rows 256] [--vocabulary 131072] [--json]

A ratio is the time over that of reading the logits once at the copy bandwidth of the same run. Logits are rotated, so
that none lie in the L2 cache. Peers, where they can be imported: torch (softmax, sort where needed, multinomial) and
flashinfer.sampling, after xgrammar's bit-mask kernel, or else torch, where there is a mask.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from bandwidth import copy_bandwidth, require_cuda, time_cuda
from rich.console import Console
from rich.table import Table
from torch import Tensor

from espalier.kernels.sampling import Settings, sample

ROTATED_BYTES = 512 * 2**20
TOP_K, TOP_P, MIN_P = 50, 0.9, 0.05
ASKED: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 1.0},
    "top-k 50": {"temperature": 1.0, "top_k": TOP_K},
    "top-p 0.9": {"temperature": 1.0, "top_p": TOP_P},
    "min-p 0.05": {"temperature": 1.0, "min_p": MIN_P},
}
LOGITS = ("peaked", "flat")
MASKS = ("none", "half", "few")


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sampled: ASKED's name, LOGITS' and MASKS'."""

    asked: str
    logits: str
    mask: str = "none"


WORKLOADS = [
    *(Workload(asked, logits) for logits in LOGITS for asked in ASKED),
    *(Workload(asked, "peaked", mask) for mask in ("half", "few") for asked in ASKED),
]


def make_logits(kind: str, rows: int, vocabulary: int, random: torch.Generator) -> Tensor:
    """Logits bfloat16: flat are standard normal; peaked fall off by rank as a language model's do."""
    device = random.device
    noise = torch.randn(rows, vocabulary, generator=random, device=device)
    if kind == "flat":
        return noise.bfloat16()
    # Zipf's law with an exponent of two: the best ten hold nine tenths.
    rank = torch.rand(rows, vocabulary, generator=random, device=device).argsort(1) + 1
    return (20 - 2 * rank.float().log() + 0.1 * noise).bfloat16()


def make_mask(kind: str, rows: int, vocabulary: int, random: torch.Generator) -> Tensor | None:
    """Masks int32 [rows, words]: half of the tokens anywhere, or few: one stretch of 128 in 32, the others zero."""
    if kind == "none":
        return None
    words = torch.randint(-(2**31), 2**31, (rows, -(-vocabulary // 32)), generator=random, device=random.device)
    if kind == "half":
        return words.int()
    stays = torch.rand(words.shape[0], -(-words.shape[1] // 4), generator=random, device=random.device) < 1 / 32
    stays[:, 0] = True
    return torch.where(stays.repeat_interleave(4, 1)[:, : words.shape[1]], -1, 0).int()


def make_settings(asked: str, mask: Tensor | None, rows: int, random: torch.Generator) -> Settings:
    """The same for every row."""
    device, wanted = random.device, ASKED[asked]

    def vector(name: str, off: float, dtype: torch.dtype) -> Tensor:
        return torch.full((rows,), wanted.get(name, off), dtype=dtype, device=device)

    return Settings(
        temperature=vector("temperature", 0.0, torch.float32),
        top_k=vector("top_k", 0, torch.int32),
        top_p=vector("top_p", 1.0, torch.float32),
        min_p=vector("min_p", 0.0, torch.float32),
        uniform=torch.rand(rows, generator=random, device=device, dtype=torch.float64),
        mask=mask,
    )


def mask_by_torch(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits with minus infinity where the mask forbids."""
    bits = (mask.unsqueeze(2) >> torch.arange(32, device=mask.device)) & 1
    return logits.masked_fill(bits.flatten(1)[:, : logits.shape[1]] == 0, float("-inf"))


def torch_sample(logits: Tensor, asked: str) -> Tensor:
    """Tokens by torch alone, as many servers draw them."""
    if asked == "greedy":
        return logits.argmax(-1)
    probability = torch.softmax(logits.float(), -1)
    if asked.startswith("top-k"):
        probability, token = probability.topk(TOP_K)
        return token.gather(1, probability.multinomial(1)).squeeze(1)
    if asked.startswith("top-p"):
        probability, token = probability.sort(-1, descending=True)
        probability = torch.where(probability.cumsum(-1) - probability < TOP_P, probability, 0.0)
        return token.gather(1, probability.multinomial(1)).squeeze(1)
    if asked.startswith("min-p"):
        probability = torch.where(probability >= MIN_P * probability.amax(-1, keepdim=True), probability, 0.0)
    return probability.multinomial(1).squeeze(1)


def imported(name: str) -> Any:
    """A peer's module, None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def flashinfer_sample(module: Any, logits: Tensor, asked: str) -> Tensor:
    """Tokens by flashinfer's kernels, after torch's softmax."""
    if asked == "greedy":
        return logits.argmax(-1)
    probability = torch.softmax(logits.float(), -1)
    calls = {"top-k": ("top_k", TOP_K), "top-p": ("top_p", TOP_P), "min-p": ("min_p", MIN_P)}
    call = calls.get(asked.split()[0])
    if call is None:
        token: Tensor = module.sampling_from_probs(probability)
    else:
        token = getattr(module, f"{call[0]}_sampling_from_probs")(probability, call[1])
    return token


def runs(workload: Workload, settings: Settings) -> Iterator[tuple[str, Callable[[Tensor], object]]]:
    """Everyone who samples this; each takes logits."""
    yield "espalier", lambda logits: sample(logits, settings)
    mask, xgrammar, flashinfer = settings.mask, imported("xgrammar"), imported("flashinfer.sampling")

    def masked(logits: Tensor) -> Tensor:
        if mask is None:
            return logits
        if xgrammar is None:
            return mask_by_torch(logits, mask)
        copied = logits.clone()
        xgrammar.apply_token_bitmask_inplace(copied, mask)
        return copied

    said = "" if mask is None else " after torch's mask" if xgrammar is None else " after xgrammar's mask"
    yield f"torch{said}", lambda logits: torch_sample(masked(logits), workload.asked)
    if flashinfer is not None:
        yield f"flashinfer{said}", lambda logits: flashinfer_sample(flashinfer, masked(logits), workload.asked)


@dataclass(frozen=True, slots=True)
class Measured:
    """One who sampled one workload: microseconds, and how often the logits could be read in that time."""

    asked: str
    logits: str
    mask: str
    who: str
    us: float
    ratio: float


def measure(workload: Workload, rows: int, vocabulary: int, bandwidth: float, device: torch.device) -> list[Measured]:
    """Everyone's time, each over logits that take turns."""
    random = torch.Generator(device).manual_seed(0)
    count = max(2, -(-ROTATED_BYTES // (rows * vocabulary * 2)))
    turns = [(make_logits(workload.logits, rows, vocabulary, random),) for _ in range(count)]
    settings = make_settings(workload.asked, make_mask(workload.mask, rows, vocabulary, random), rows, random)
    once = turns[0][0].nbytes / bandwidth
    found: list[Measured] = []
    for who, run in runs(workload, settings):
        # torch's multinomial and flashinfer's generators can't all be captured: peers are given what they can do.
        try:
            seconds = time_cuda(run, turns)
        except RuntimeError:
            torch.cuda.synchronize()
            seconds = time_cuda(run, turns, captured=False)
        found.append(Measured(workload.asked, workload.logits, workload.mask, who, seconds * 1e6, seconds / once))
    return found


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=131_072)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    arguments = parser.parse_args()
    device = require_cuda()
    bandwidth = copy_bandwidth(device)
    found = [
        each
        for workload in WORKLOADS
        for each in measure(workload, arguments.rows, arguments.vocabulary, bandwidth, device)
    ]
    if arguments.json:
        fields = ("asked", "logits", "mask", "who", "us", "ratio")
        results = [{name: getattr(each, name) for name in fields} for each in found]
        heading = {"device": torch.cuda.get_device_name(device), "copy_bytes_per_s": bandwidth}
        print(json.dumps(heading | {"rows": arguments.rows, "vocabulary": arguments.vocabulary, "results": results}))
        return
    table = Table("asked", "logits", "mask", "by", "us", "x one read")
    for each in found:
        table.add_row(each.asked, each.logits, each.mask, each.who, f"{each.us:,.1f}", f"{each.ratio:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{torch.cuda.get_device_name(device)}, copies at {bandwidth / 1e12:.2f} TB/s")


if __name__ == "__main__":
    main()
