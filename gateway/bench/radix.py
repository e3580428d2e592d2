"""`espalier bench radix`: our prefix tree beside SGLang's over one trace, each in its own process.

    match     at each turn: what of the history is known      whole     afterwards: all of a session
    insert    at each turn: the rest                          branch    and up to where it leaves the trace
    lock      locks and unlocks                               evict     in steps, until half is gone

The peer runs in an environment of its own, which examples/bench/radix_peer/setup.sh makes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from espalier.gateway.bench.tree_run import Trace

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "examples" / "bench" / "radix_peer" / "peer_sglang.py"
OURS = [sys.executable, "-m", "espalier.gateway.bench.tree_ours"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--sessions", type=int, default=1000, help="sessions that grow side by side")
    parser.add_argument("--tokens", type=int, default=100_000, help="length of each at its end")
    parser.add_argument("--turns", type=int, default=43, help="turns in which it grows")
    parser.add_argument("--shared", type=int, default=8000, help="tokens of a prompt that an eighth of them shares")
    parser.add_argument("--environment", type=Path, default=ROOT / ".peers" / "radix", help="where the peer runs")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the tables")


def run(args: argparse.Namespace) -> int:
    """Measure and report, for slots that rise and for slots in any order; 2 if the trace makes no sense."""
    if not (args.sessions > 0 < args.turns <= args.tokens and 0 <= args.shared <= args.tokens):
        print("espalier bench radix: error: --turns and --shared must fit into --tokens", file=sys.stderr)
        return 2
    python = args.environment / "bin" / "python"
    engines = {"espalier": OURS} | ({"sglang": [str(python), str(PEER)]} if python.exists() else {})
    console, figures = Console(stderr=args.json), dict[str, dict[str, Any]]()
    for name, is_scattered in (("rising slots", False), ("scattered slots", True)):
        trace = Trace(args.sessions, args.tokens, args.turns, args.shared, is_scattered)
        figures[name] = {}
        for engine, command in engines.items():
            with console.status(f"{engine}, {name}"):
                figures[name][engine] = measure(command, trace)
    if args.json:
        print(json.dumps({"bench": "radix", "sessions": args.sessions, "tokens": args.tokens} | figures))
    else:
        for name, found in figures.items():
            console.print(table(f"{args.sessions:,} sessions of {args.tokens:,} tokens, {name}", found))
    return 0


def measure(command: list[str], trace: Trace) -> dict[str, Any]:
    """What `tree_run` told of one tree."""
    done = subprocess.run([*command, json.dumps(trace)], stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def table(title: str, found: dict[str, Any]) -> Table:
    """Microseconds by call, and bytes by token; with the ratio to the peer where it ran."""
    has_ratio = len(found) > 1
    shown = Table("", *found, *(["ours / theirs"] if has_ratio else []), title=title, title_justify="left")
    for name in found["espalier"]["times"]:
        _add(shown, f"{name}, us", [_microseconds(told, name) for told in found.values()])
    _add(shown, "memory, MB", [told["memory"] / 1e6 for told in found.values()])
    return shown


def _microseconds(told: dict[str, Any], name: str) -> float:
    # Trees give up different numbers of tokens at a call: for eviction, what 4,096 of them take.
    times = told["times"][name]
    calls = told["evicted"] / 4096 if name == "evict" else times["calls"]
    return float(times["total_s"] / calls * 1e6)


def _add(shown: Table, name: str, values: list[float]) -> None:
    ratio = [f"{values[0] / values[1]:.2f}"] if len(values) > 1 else []
    shown.add_row(name, *(f"{value:,.1f}" for value in values), *ratio)
