"""`espalier bench engine`: the engine alone, in this process, on random tokens; greedy, ends of text ignored.

    prefill   tokens/s of one prompt of 512 tokens
    decode    tokens/s of 1, 8 and 32 requests with 512 tokens of context each
    chats     mean time to first token of eight chats at once over a shared prompt of 1,000 tokens: turn 1, turns 2 to 4
    batching  continuous against static batching, answers from 20 to 2,000 tokens (log-uniform), at most 32 at once
    prefix    a shared prompt of 1,000 tokens with and without the prefix tree: tokens computed, time to first token

Of several runs the best counts: noise only ever makes a run slower.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.errors import EngineError
from espalier.engine.loader import Loaded, load
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.gateway.bench.positive import positive

PROMPT_LEN = 512
BATCHES = (1, 8, 32)
SHARED_LEN = 1000
MESSAGE_LEN = 24
ANSWER_LEN = 32
CHATS = 8
TURNS = 4
WIDTH = 32
SHORTEST, LONGEST = 20, 2000
BATCHED = 8 * WIDTH


@dataclass(slots=True)
class Bench:
    """A loaded model, and the figures found so far by name."""

    options: EngineOptions
    loaded: Loaded
    repeat: int
    figures: dict[str, float] = field(default_factory=dict)

    def engine(self, **changes: object) -> Engine:
        """A fresh engine over the same weights and memory."""
        options = replace(self.options, **changes)  # type: ignore[arg-type]
        most = min(options.max_running, self.loaded.fit.max_running)
        return Engine(options, loaded=replace(self.loaded, fit=replace(self.loaded.fit, max_running=most)))

    def tokens(self, rng: Random, count: int) -> list[int]:
        """Random tokens that are no special ones."""
        return [rng.randrange(256, self.loaded.model.config.vocab_size) for _ in range(count)]


def answer_params(num_tokens: int) -> SamplingParams:
    """Exactly `num_tokens` tokens, greedy."""
    return SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True)


def finish(engine: Engine) -> dict[str, tuple[float, list[int]]]:
    """Drive an engine until it is idle: seconds from now to each request's first token, and its tokens."""
    began, told = time.perf_counter(), dict[str, tuple[float, list[int]]]()
    while engine.has_work():
        for output in engine.step().outputs:
            first = told.setdefault(output.request_id, (time.perf_counter() - began, []))
            first[1].extend(output.token_ids)
    return told


def prefill(bench: Bench) -> None:
    """Tokens/s of one prompt."""
    best = math.inf
    for run in range(bench.repeat):
        engine = bench.engine()
        engine.submit(Generate("a", bench.tokens(Random(run), PROMPT_LEN), answer_params(1)))
        best = min(best, finish(engine)["a"][0])
    bench.figures["prefill tokens/s"] = PROMPT_LEN / best


def decode(bench: Bench) -> None:
    """Tokens/s of decode steps at each batch size."""
    for batch in BATCHES:
        steps = 64 if batch == 1 else 32
        best = math.inf
        for run in range(bench.repeat):
            engine, rng = bench.engine(), Random(run)
            for index in range(batch):
                engine.submit(Generate(str(index), bench.tokens(rng, PROMPT_LEN), answer_params(steps + PROMPT_LEN)))
            while any(not sequence.is_decoding for sequence in engine.scheduler.running) or engine.scheduler.waiting:
                engine.step()
            began = time.perf_counter()
            for _ in range(steps):
                engine.step()
            best = min(best, (time.perf_counter() - began) / steps)
        bench.figures[f"decode tokens/s at batch {batch}"] = batch / best


def chats(bench: Bench) -> None:
    """Mean time to first token of chats that speak at once, over several turns."""
    first, later = math.inf, math.inf
    for run in range(bench.repeat):
        engine, rng = bench.engine(), Random(run)
        shared = bench.tokens(rng, SHARED_LEN)
        histories = {str(chat): list(shared) for chat in range(CHATS)}
        times: list[float] = []
        for _ in range(TURNS):
            for name, history in histories.items():
                history += bench.tokens(rng, MESSAGE_LEN)
                engine.submit(Generate(name, list(history), answer_params(ANSWER_LEN)))
            told = finish(engine)
            times.append(statistics.mean(seconds for seconds, _ in told.values()))
            for name, (_, answer) in told.items():
                histories[name] += answer
        first, later = min(first, times[0]), min(later, statistics.mean(times[1:]))
    bench.figures["chats TTFT s, turn 1"] = first
    bench.figures[f"chats TTFT s, turns 2 to {TURNS}"] = later


def batching(bench: Bench) -> None:
    """Throughput of continuous and of static batching on the same requests.

    Static batching keeps a batch as large as it began until its longest answer has ended, as engines do that decode
    padded batches (Yu et al., 2022, call it request-level scheduling): each row runs that long. Beside it what our own
    flag does with the same batches, a row leaving them at its end: what is lost then is only that the rest of a batch
    runs half empty, which costs steps, and time where a step takes as long for one row as for all, as on a GPU that
    waits for weights.
    """
    rng = Random(7)
    lengths = [round(math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))) for _ in range(BATCHED)]
    prompts = [bench.tokens(rng, 16) for _ in lengths]
    batches = [lengths[at : at + WIDTH] for at in range(0, BATCHED, WIDTH)]
    padded = [max(batch) for batch in batches for _ in batch]
    steps: dict[str, int] = {}
    for name, mode, chosen in (
        ("continuous", "continuous", lengths),
        ("static", "static", padded),
        ("shrinking static", "static", lengths),
    ):
        engine = bench.engine(batching=mode, max_running=WIDTH)
        for at, (prompt, length) in enumerate(zip(prompts, chosen, strict=True)):
            engine.submit(Generate(str(at), prompt, answer_params(length)))
        began = time.perf_counter()
        finish(engine)
        steps[name] = engine.stats().step
        # What was asked for counts, not what padding made.
        bench.figures[f"{name} batching tokens/s"] = sum(lengths) / (time.perf_counter() - began)
    continuous = bench.figures["continuous batching tokens/s"]
    for name in ("static", "shrinking static"):
        bench.figures[f"continuous / {name}"] = continuous / bench.figures[f"{name} batching tokens/s"]
    bench.figures["continuous / shrinking static, in steps"] = steps["shrinking static"] / steps["continuous"]
    bench.figures["bound of continuous / static, max / mean length"] = sum(padded) / sum(lengths)


def prefix(bench: Bench) -> None:
    """What a shared system prompt costs with and without the prefix tree, request after request."""
    rng = Random(11)
    shared = bench.tokens(rng, SHARED_LEN)
    prompts = [shared + bench.tokens(rng, MESSAGE_LEN) for _ in range(CHATS)]
    computed: dict[bool, int] = {}
    times: dict[bool, float] = {}
    for cache in (False, True):
        engine = bench.engine(prefix_cache=cache)
        seconds: list[float] = []
        for at, prompt in enumerate(prompts):
            engine.submit(Generate(str(at), prompt, answer_params(ANSWER_LEN)))
            seconds.append(finish(engine)[str(at)][0])
        computed[cache], times[cache] = engine.stats().computed_tokens, statistics.median(seconds[1:])
    bench.figures["prefix reuse, share of compute saved"] = 1 - computed[True] / computed[False]
    bench.figures["prefix reuse, TTFT times lower"] = times[False] / times[True]


PARTS: dict[str, Callable[[Bench], None]] = {
    "prefill": prefill,
    "decode": decode,
    "chats": chats,
    "batching": batching,
    "prefix": prefix,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--shape", choices=sorted(SHAPES), help="random weights of this shape")
    parser.add_argument("--model", default="bundled", help="a checkpoint; default the bundled model")
    parser.add_argument("--weights", default="auto", choices=("auto", "float32", "bfloat16", "float16", "int8"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="CPU threads; default all cores")
    parser.add_argument("--step-tokens", type=int, help="token budget of a step")
    parser.add_argument("--exact", action="store_true", help="results that don't depend on what shares the batch")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--repeat", type=positive, default=3, help="runs of each part, of which the best counts")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measure and report; 1 if the model can't be loaded."""
    console = Console(stderr=args.json)
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_random_checkpoint(Path(folder), SHAPES[args.shape])) if args.shape else args.model
        options = EngineOptions(
            model=model,
            weights=args.weights,
            device=args.device,
            threads=args.threads,
            step_tokens=args.step_tokens,
            exact=args.exact,
        )
        try:
            bench = Bench(options, load(options), args.repeat)
        except EngineError as error:
            console.print(f"[red]{error}")
            return 1
        for part in args.parts:
            with console.status(part):
                PARTS[part](bench)
    name = args.shape or args.model
    if args.json:
        print(json.dumps({"bench": "engine", "model": name, "weights": args.weights} | bench.figures))
    else:
        console.print(report(f"{name}, weights {args.weights}", bench.figures))
    return 0


def report(title: str, figures: dict[str, float]) -> Table:
    """The figures as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    return table
