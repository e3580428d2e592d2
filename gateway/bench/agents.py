"""`espalier bench agents`: agents that stop for their tools, with leases and with least-recently-used eviction alone.

Scheduler, prefix tree and leases are the engine's own; the model is a formula of a step's time, and time is simulated.
Both ways have the same agents, pool and admission. The working set is what all living agents' contexts take together; a
few dozen agents make it differ from seed to seed, so that figures are of all turns of several seeds.

    hit rate      prompt tokens found in the tree        TTFT    seconds from a turn's arrival to its first token
    throughput    tokens of answers each second
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from espalier.engine.scheduler import Limits
from espalier.gateway.bench.agent_run import Figures, Replay, StepModel
from espalier.gateway.bench.agent_trace import GAPS, AgentMaker
from espalier.radix import RecomputeCost

STEP_TOKENS = 2048
MAX_RUNNING = 64
SAMPLE = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--pool", type=int, default=150_000, help="KV slots")
    parser.add_argument("--over", type=float, nargs="+", default=[1.5, 2.0, 3.0], help="working set over the pool")
    parser.add_argument("--gaps", nargs="+", choices=tuple(GAPS), default=list(GAPS), help="what tools take")
    parser.add_argument("--lease-share", type=float, default=0.95, help="part of the pool that leases may hold")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds that a request waits for leased slots")
    parser.add_argument("--prefill", type=float, default=10_000, help="prompt tokens computed in a second")
    parser.add_argument("--decode-ms", type=float, default=0.25, help="time of a decode token in a step")
    parser.add_argument("--fixed-ms", type=float, default=10.0, help="time of a step beside its tokens")
    parser.add_argument("--seconds", type=float, default=600.0, help="simulated time that is measured")
    parser.add_argument("--settle", type=float, default=200.0, help="simulated time before")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4], help="of the agents")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="replays at once")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Replay and report."""
    console = Console(stderr=args.json)
    rows: list[dict[str, Any]] = []
    with (
        ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool,
        console.status("agents are replayed"),
    ):
        given = list(product(args.gaps, args.over))
        asked = [
            [[pool.submit(replay, args, *one, has_leases, seed) for seed in args.seeds] for has_leases in (True, False)]
            for one in given
        ]
        for (gaps, over), (leases, lru) in zip(given, asked, strict=True):
            found = {name: [one.result() for one in futures] for name, futures in (("leases", leases), ("lru", lru))}
            rows.append({"gaps": gaps, "over": over, **{name: summary(of, args.pool) for name, of in found.items()}})
    if args.json:
        print(json.dumps({"bench": "agents", "pool": args.pool, "seeds": args.seeds, "rows": rows}))
    else:
        console.print(table(rows))
    return 0


def replay(args: argparse.Namespace, gaps: str, over: float, has_leases: bool, seed: int) -> Figures:
    """One run, with leases and eviction by value, or with eviction of the least recently used alone."""
    limits = Limits(
        num_slots=args.pool,
        max_context=args.pool,
        max_running=MAX_RUNNING,
        step_tokens=STEP_TOKENS,
        patience_s=args.patience,
        eviction="value" if has_leases else "lru",
        lease_tokens=int(args.lease_share * args.pool) if has_leases else 0,
    )
    prefill = RecomputeCost(0.0, 1 / args.prefill, 1 / args.prefill / 100_000)
    model = StepModel(args.fixed_ms / 1000, prefill, args.decode_ms / 1000)
    num_agents = max(1, round(over * args.pool / mean_context(gaps, seed)))
    maker = AgentMaker(np.random.default_rng(seed), GAPS[gaps])
    return Replay(maker, num_agents, limits, model, settle_s=args.settle).run(args.settle + args.seconds)


def mean_context(gaps: str, seed: int) -> float:
    """Tokens of an agent's context on average over its turns."""
    maker = AgentMaker(np.random.default_rng(seed + 1), GAPS[gaps])
    lengths: list[int] = []
    for _ in range(SAMPLE):
        added = [len(turn.new_tokens) + len(turn.answer_tokens) for turn in maker.agent().turns]
        lengths += np.cumsum(added).tolist()
    return statistics.fmean(lengths)


def summary(runs: Sequence[Figures], pool: int) -> dict[str, float]:
    """The figures of all runs together."""
    waits = np.concatenate([one.first_token_s for one in runs])
    return {
        "working_set": statistics.fmean(size for one in runs for size in one.working_set) / pool,
        "hit_rate": sum(one.cached_tokens for one in runs) / sum(one.prompt_tokens for one in runs),
        "ttft_mean_s": float(waits.mean()),
        "ttft_p50_s": float(np.quantile(waits, 0.5)),
        "ttft_p95_s": float(np.quantile(waits, 0.95)),
        "ttft_p99_s": float(np.quantile(waits, 0.99)),
        "tokens_per_s": sum(one.answer_tokens for one in runs) / sum(one.seconds for one in runs),
        "turns": sum(one.turns for one in runs),
    }


NAMES = {
    "hit_rate": "hit rate",
    "ttft_mean_s": "TTFT mean, s",
    "ttft_p50_s": "TTFT p50, s",
    "ttft_p95_s": "TTFT p95, s",
    "ttft_p99_s": "TTFT p99, s",
    "tokens_per_s": "tokens/s",
}


def table(rows: Iterable[dict[str, Any]]) -> Table:
    """Each figure with leases, without, and their ratio."""
    shown = Table("gaps", "over", "", "leases", "lru", "ratio", title="agents", title_justify="left")
    for row in rows:
        for key, name in NAMES.items():
            ours, theirs = row["leases"][key], row["lru"][key]
            over = f"{row['leases']['working_set']:.2f} / {row['lru']['working_set']:.2f}"
            ratio = f"{ours / theirs:.2f}" if theirs else "-"
            shown.add_row(row["gaps"], over, name, f"{ours:.3f}", f"{theirs:.3f}", ratio)
        shown.add_section()
    return shown
