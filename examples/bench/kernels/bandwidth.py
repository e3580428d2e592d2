"""How fast this device copies, and how long a call takes: what the benchmarks beside this file measure with.

A share of the copy bandwidth says more than a time, since it holds on another device too.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

COPIED_BYTES = 2**30
REPEATS = 20


def require_cuda() -> torch.device:
    """The CUDA device; without one the program ends with code 2 and says so."""
    if not torch.cuda.is_available():
        print("This benchmark measures CUDA kernels, and torch sees no CUDA device here.", file=sys.stderr)
        sys.exit(2)
    return torch.device("cuda")


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of torch's own copy of 1 GiB: the better of two ways.

    A graph may give a copy to the copy engine, which is slower than the multiprocessors.
    """
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    seconds = min(time_cuda(_copy, [(source, target)], captured=captured) for captured in (True, False))
    return 2 * COPIED_BYTES / seconds


def _copy(source: Tensor, target: Tensor) -> None:
    target.copy_(source)


def time_cuda(
    function: Callable[..., object], inputs_rotated: Sequence[tuple[object, ...]], *, captured: bool = True
) -> float:
    """Median seconds of `function(*inputs)` on the device; the inputs are taken in turn.

    Hand over so many inputs that together they are larger than the L2 cache. `captured` replays the calls as one CUDA
    graph, so that launches cost what they cost in the engine; what makes the host wait can't be captured.
    """

    def run() -> None:
        for inputs in inputs_rotated:
            function(*inputs)

    # Twice: the first call compiles, and capturing wants warm libraries.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
        run()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    replay = _capture(run) if captured else run
    times: list[float] = []
    for _ in range(REPEATS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        replay()
        end.record()
        torch.cuda.synchronize()
        times.append(float(begin.elapsed_time(end)) / 1e3 / len(inputs_rotated))
    return statistics.median(times)


def _capture(run: Callable[[], None]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    graph.replay()
    return graph.replay
