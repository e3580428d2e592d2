"""The next turn of a long session: cold, warm, and from disk after a restart: follow_up.py [--tokens 4000] [--runs 5].

In one process, without HTTP: seconds from the request to its first token, and how many prompt tokens were computed: the
new ones, and the last of the answer before, which was drawn and never computed. Cold is the same prompt on an engine
that has seen nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.loader import Loaded, load

NEW_TOKENS = 24
ANSWER_TOKENS = 16


def first_token(
    engine: Engine, prompt: list[int], *, answer_tokens: int = ANSWER_TOKENS
) -> tuple[float, int, list[int]]:
    """Seconds to the first token, prompt tokens computed, and the answer."""
    params = SamplingParams(temperature=0, max_tokens=answer_tokens, ignore_eos=True)
    before, began, first_s = engine.stats().computed_tokens, time.perf_counter(), 0.0
    engine.submit(Generate("r", prompt, params, session="s"))
    answer: list[int] = []
    while engine.has_work():
        for output in engine.step().outputs:
            first_s = first_s or time.perf_counter() - began
            answer += output.token_ids
    return first_s, engine.stats().computed_tokens - before - len(answer) + 1, answer


def measure(options: EngineOptions, loaded: Loaded, num_tokens: int, seed: int) -> dict[str, tuple[float, int]]:
    """One session: its first turn, then its next one in each way. All answers must be the same."""
    rng = np.random.default_rng(seed)
    prompt = [int(token) for token in rng.integers(300, loaded.model.config.vocab_size - 300, num_tokens)]
    new = [int(token) for token in rng.integers(300, loaded.model.config.vocab_size - 300, NEW_TOKENS)]

    def engine() -> Engine:
        return Engine(options, loaded=loaded)

    def turn(make: Callable[[], Engine], history: list[int]) -> tuple[float, int, list[int]]:
        ready = make()
        try:
            return first_token(ready, history)
        finally:
            ready.close()

    writer = engine()
    _, _, answer = first_token(writer, prompt)
    history = [*prompt, *answer, *new]
    writer.close()
    disk_s, disk_computed, from_disk = turn(engine, history)
    plain = Engine(replace(options, kv_disk_bytes=0, kv_folder=None), loaded=loaded)
    first_token(plain, prompt)
    warm_s, warm_computed, warm = first_token(plain, history)
    cold_s, cold_computed, cold = turn(
        lambda: Engine(replace(options, kv_disk_bytes=0, kv_folder=None), loaded=loaded), history
    )
    if not cold == warm == from_disk:
        raise SystemExit("the answers differ")
    return {"cold": (cold_s, cold_computed), "warm": (warm_s, warm_computed), "disk": (disk_s, disk_computed)}


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    options = EngineOptions(model=args.model, exact=True, kv_memory_bytes=2**28, kv_disk_bytes=2**30)
    loaded = load(options)
    found = []
    for run in range(args.runs):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(replace(options, kv_folder=folder), loaded, args.tokens, run))
    cold_s = statistics.median(run["cold"][0] for run in found)
    for name in ("cold", "warm", "disk"):
        seconds = statistics.median(run[name][0] for run in found)
        computed = max(run[name][1] for run in found)
        print(
            f"{name}: TTFT {seconds * 1000:.1f} ms, cold is {cold_s / seconds:.1f} x that; {computed} tokens computed"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
