"""`espalier bench grammar`: token masks of our engine and of peers over one workload, each engine in its own process.

    first    compile and first mask         cold     later masks of a schema's first request
    second   all masks of later requests    memory   resident bytes with many different schemas kept

Peers run in an environment of their own, which examples/bench/grammar_peers/setup.sh makes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from espalier.gateway.bench import mask_workload as workload
from espalier.gateway.bench.mask_engine import run_engine
from espalier.gateway.bench.quantile import spread

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "examples" / "bench" / "grammar_peers"
NAMES = ("llguidance", "xgrammar")
OURS = [sys.executable, "-m", "espalier.gateway.bench.mask_ours"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    bundled = ROOT / "engine" / "bundled" / "tokenizer.json"
    parser.add_argument("--vocabulary", type=Path, default=bundled, help="a tekken.json or tokenizer.json")
    parser.add_argument("--schemas", type=Path, help="lines of {id, schema, tests}, .gz or not; default made-up tools")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th schema")
    parser.add_argument("--kept", type=int, default=1000, help="different schemas whose memory is measured; 0 for none")
    parser.add_argument("--environment", type=Path, default=ROOT / ".peers" / "grammar", help="where peers run")
    parser.add_argument("--engines", nargs="+", choices=("espalier", *NAMES), help="default: those that are there")
    parser.add_argument("--limit-s", type=float, default=30.0, help="longest time of one case")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: of the thread, on a busy machine"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the tables")


def run(args: argparse.Namespace) -> int:
    """Measure and report; 2 if the vocabulary can't be read."""
    python = args.environment / "bin" / "python"
    engines = args.engines or ["espalier", *(NAMES if python.exists() else ())]
    console = Console(stderr=args.json)
    try:
        vocabulary = workload.read_vocabulary(args.vocabulary)
        cases = list(workload.cases_of(args.schemas, args.every) if args.schemas else workload.many_cases(100))
    except (OSError, workload.VocabularyFileError) as error:
        print(f"espalier bench grammar: error: {error}", file=sys.stderr)
        return 2
    parts = {"schemas": cases, "special": list(workload.special_cases())}
    if args.kept:
        parts["kept"] = list(workload.many_cases(args.kept))
    figures: dict[str, dict[str, Any]] = {name: {} for name in engines}
    for part, chosen in parts.items():
        with tempfile.TemporaryDirectory() as folder:
            workload.write(Path(folder), vocabulary, chosen)
            for name in engines:
                command = OURS if name == "espalier" else [str(python), str(PEERS / f"peer_{name}.py")]
                words = ("keep",) if part == "kept" else (args.clock,)
                with console.status(f"{name}, {part}"):
                    told = run_engine(command, folder, [case.name for case in chosen], args.limit_s, *words)
                figures[name][part] = SUMMARIES[part](told)
    about = {"bench": "grammar", "tokens": len(vocabulary[0]), "schemas": len(cases), "clock": args.clock}
    if args.json:
        print(json.dumps(about | figures))
    else:
        for table in tables(figures, f"{len(cases)} schemas, {len(vocabulary[0]):,} tokens, {args.clock} time"):
            console.print(table)
    return 0


def summary(told: list[Any]) -> dict[str, Any]:
    """Times of all cases together, in seconds; cases that failed, or in which a valid instance was refused."""
    times = {
        name: [second for row in told if name in row for second in _list(row[name])]
        for name in ("first", "cold", "accept", "second", "again")
    }
    found: dict[str, Any] = {"setup_s": next((row["ready"] for row in told if "ready" in row), None)}
    for name, values in times.items():
        known = spread(values)
        found[name] = known and {"mean": known.mean, "p50": known.p50, "p99": known.p99, "max": max(values)}
    found["failed"] = sum("error" in row for row in told)
    found["timed_out"] = sum(str(row.get("error", "")).startswith("no answer") for row in told)
    found["refused"] = sum(any(place is not None for place in row.get("refused", ())) for row in told)
    return found


def each(told: list[Any]) -> dict[str, Any]:
    """The same for each case by itself."""
    return {row["case"]: summary([row]) for row in told if "case" in row}


def memory(told: list[Any]) -> dict[str, Any]:
    """Resident bytes before the first schema and behind the last one."""
    rss = [row["rss"] for row in told if "rss" in row]
    return {"before": rss[0], "after": rss[-1]} if len(rss) > 1 else {}


SUMMARIES = {"schemas": summary, "special": each, "kept": memory}


def _list(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


def tables(figures: dict[str, dict[str, Any]], title: str) -> Iterable[Table]:
    """All figures, an engine a column, in microseconds; with the ratio to llguidance where it ran."""
    yield _table(title, figures, "schemas")
    for case in next(iter(figures.values()))["special"]:
        yield _table(case, {name: found["special"] for name, found in figures.items()}, case)
    if any(found.get("kept") for found in figures.values()):
        table = Table("memory, MB", *figures, title="different schemas in one process", title_justify="left")
        for moment in ("before", "after"):
            kept = [found["kept"].get(moment) for found in figures.values()]
            table.add_row(moment, *("-" if value is None else f"{value / 1e6:,.0f}" for value in kept))
        yield table


def _table(title: str, figures: dict[str, dict[str, Any]], part: str) -> Table:
    has_ratio = {"espalier", "llguidance"} <= set(figures)
    table = Table("us", *figures, *(["x llguidance"] if has_ratio else []), title=title, title_justify="left")
    found = {name: told.get(part) or {} for name, told in figures.items()}
    for row in ("first", "cold", "second"):
        for measure in ("mean", "p50", "p99"):
            values = {name: (told.get(row) or {}).get(measure) for name, told in found.items()}
            shown = ["-" if value is None else f"{value * 1e6:,.1f}" for value in values.values()]
            if has_ratio:
                ours, theirs = values["espalier"], values["llguidance"]
                shown.append(f"{ours / theirs:.2f}" if ours is not None and theirs else "-")
            table.add_row(f"{row} {measure}", *shown)
    for row in ("failed", "timed_out", "refused"):
        table.add_row(row.replace("_", " "), *(str(told.get(row, "-")) for told in found.values()))
    return table
