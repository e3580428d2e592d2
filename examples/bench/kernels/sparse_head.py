"""From how many allowed tokens a row on the whole head is faster than the sparse one.

    python examples/bench/kernels/sparse_head.py --format int8 --rows 1,8,32 [--threads 2] [--device cuda]

For each vocabulary and hidden size: the time of the whole product, that of the sparse head at some numbers of tokens a
row, and the number at which the two meet. What sampling saves by reading fewer logits comes on top. Tokens are drawn
from the whole vocabulary, other ones for each row and each call, which is the worst case: tokens that lie side by side
or are wanted by several rows share what is read.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from bandwidth import require_cuda, time_cuda
from torch import Tensor

from espalier.kernels.linear import Linear, pack_linear
from espalier.kernels.sparse_head import sparse_head

SIZES = ((3072, 192), (49152, 576), (131072, 1024))
COUNTS = (1, 4, 16, 64, 256, 1024, 4096)
MEASURED_S = 0.2
DRAWS = 16


def seconds(device: torch.device, call: Callable[..., object], inputs: Sequence[tuple[object, ...]]) -> float:
    """Median of calls whose inputs are taken in turn: on the CPU by the clock, on a GPU by its events."""
    if device.type == "cuda":
        return time_cuda(call, inputs)
    times, stop, turns = list[float](), time.perf_counter() + MEASURED_S, itertools.cycle(inputs)
    while time.perf_counter() < stop or len(times) < 3:
        arguments = next(turns)
        begin = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def wanted(rows: int, count: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """`start` and `token` for rows that want `count` tokens each, ascending."""
    tokens = [torch.randperm(vocabulary)[:count].sort().values for _ in range(rows)]
    return torch.arange(rows + 1, dtype=torch.int32) * count, torch.cat(tokens).int()


def break_even(counts: list[int], times: list[float], whole: float) -> str:
    """Where the curve through the measured points crosses `whole`, on logarithmic axes."""
    if times[0] >= whole:
        return f"< {counts[0]}"
    points = list(zip(counts, times, strict=True))
    for (n, a), (m, b) in itertools.pairwise(points):
        if b >= whole:
            share = (math.log(whole) - math.log(a)) / (math.log(b) - math.log(a))
            return f"{n * (m / n) ** share:.0f}"
    return f"> {counts[-1]}"


def measure(head: Linear, hidden: Tensor, counts: list[int]) -> tuple[float, list[float]]:
    """Seconds of the whole head, and of the sparse one for each count."""
    device, times = hidden.device, list[float]()
    whole = seconds(device, head, [(hidden,)] * DRAWS)
    for count in counts:
        draws = [wanted(len(hidden), count, head.out_features) for _ in range(DRAWS)]
        inputs = [(hidden, head, start.to(device), token.to(device)) for start, token in draws]
        times.append(seconds(device, sparse_head, inputs))
    return whole, times


def main() -> None:
    """Print a row for each size and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", default="int8", choices=("float32", "int8", "bfloat16", "float16"))
    parser.add_argument("--rows", default="1,8,32", help="batch sizes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = require_cuda() if arguments.device == "cuda" else torch.device("cpu")
    dtype = torch.float32 if arguments.format == "int8" else getattr(torch, arguments.format)
    print(
        f"| vocabulary | hidden | rows | whole head, us | sparse, us, at {', '.join(map(str, COUNTS))} | break-even |"
    )
    print("|--:|--:|--:|--:|--|--:|")
    for vocabulary, features in SIZES:
        head = pack_linear(torch.randn(vocabulary, features, device=device), None, arguments.format)
        for rows in map(int, arguments.rows.split(",")):
            counts = [count for count in COUNTS if count <= vocabulary]
            whole, times = measure(head, torch.randn(rows, features, device=device, dtype=dtype), counts)
            listed = ", ".join(f"{t * 1e6:.0f}" for t in times)
            print(
                f"| {vocabulary} | {features} | {rows} | {whole * 1e6:.0f} | {listed} "
                f"| {break_even(counts, times, whole)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
