"""Measures us and the peers on the same random checkpoint, one after another in one run, and prints the ratios.

.venv/bin/python examples/bench/peers/compare.py --shape 15m 135m --environments .peers --threads 2
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint

HERE = Path(__file__).resolve().parent
PEERS = {
    "openvino": ("float32", "int8", "int8, KV u8"),
    "vllm": ("float32, chunks of 512", "float32, chunks of 2048", "float32, eager, chunks of 512"),
    "llama": ("Q8_0, batches of 512", "Q8_0, batches of 2048", "Q8_0, batches of 512, no flash attention"),
}
OURS = ("auto", "int8")
Row = dict[str, float]


def measure(command: Sequence[str | Path], prefix: Sequence[str]) -> dict[str, object] | None:
    """The last line of a command as JSON; None, and its error shown, if it fails."""
    done = subprocess.run([*prefix, *command], capture_output=True, text=True)
    if done.returncode:
        print(f"{command[1]}: exit status {done.returncode}: {done.stderr[-2000:]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def ours(checkpoint: Path, weights: str, given: argparse.Namespace) -> Row | None:
    """Our figures by `espalier bench engine`."""
    parts = ["--parts", "prefill", "decode", "chats", "--repeat", str(given.repeat), "--json"]
    command = [Path(sys.executable).parent / "espalier", "bench", "engine", "--model", checkpoint]
    found = measure([*command, "--weights", weights, "--threads", str(given.threads), *parts], given.prefix)
    return None if found is None else {key: value for key, value in found.items() if isinstance(value, float)}


def theirs(peer: str, setting: str, checkpoint: Path, given: argparse.Namespace) -> Row | None:
    """A peer's figures with one setting."""
    python = given.environments / peer / "bin" / "python"
    script = HERE / f"peer_{peer}.py"
    found = measure([python, script, checkpoint, str(given.threads), str(given.repeat), setting], given.prefix)
    figures = None if found is None else found["figures"]
    return figures if isinstance(figures, dict) else None


def rows_of(checkpoint: Path, given: argparse.Namespace) -> Iterator[tuple[str, Row | None]]:
    """Every setting of everybody, measured one after another."""
    for weights in OURS:
        yield f"espalier {weights}", ours(checkpoint, weights, given)
    for peer in given.peers:
        for setting in PEERS[peer][: given.settings]:
            yield f"{peer} {setting}", theirs(peer, setting, checkpoint, given)


def is_time(figure: str) -> bool:
    """Whether less is better."""
    return "TTFT" in figure


def best(rows: list[Row]) -> Row:
    """The best of each figure."""
    return {name: (min if is_time(name) else max)(row[name] for row in rows) for name in rows[0]}


def table(title: str, rows: dict[str, Row]) -> Table:
    """All settings, and at the bottom our best against the best peer: above 1 is better."""
    names = list(next(iter(rows.values())))
    report = Table(title=title, title_justify="left")
    report.add_column("setting")
    for name in names:
        report.add_column(name, justify="right")
    for setting, row in rows.items():
        report.add_row(setting, *(f"{row[name]:,.0f}" if row[name] >= 100 else f"{row[name]:.3g}" for name in names))
    mine = best([row for setting, row in rows.items() if setting.startswith("espalier")])
    peers = [row for setting, row in rows.items() if not setting.startswith("espalier")]
    if peers:
        other = best(peers)
        ratios = [other[name] / mine[name] if is_time(name) else mine[name] / other[name] for name in names]
        report.add_section()
        report.add_row("ours / best peer", *(f"{ratio:.2f}" for ratio in ratios))
    return report


def main() -> None:
    """Measure every setting of everybody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["15m", "135m"])
    parser.add_argument("--environments", type=Path, default=Path(".peers"), help="the folder that setup.sh filled")
    parser.add_argument(
        "--checkpoints", type=Path, help="where checkpoints are made and kept; default a temporary folder"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--settings", type=int, default=3, help="settings tried of each peer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures there, after each setting")
    parser.add_argument(
        "--prefix", type=shlex.split, default=[], help="words before each measuring command, for instance 'nice -n -5'"
    )
    given = parser.parse_args()
    console, everything = Console(width=200), dict[str, dict[str, Row]]()
    with tempfile.TemporaryDirectory() as scratch:
        for shape in given.shape:
            checkpoint = write_random_checkpoint((given.checkpoints or Path(scratch)) / shape, SHAPES[shape])
            rows = everything[shape] = {}
            for name, row in rows_of(checkpoint, given):
                if row is not None:
                    rows[name] = row
                if given.json:
                    given.json.write_text(json.dumps(everything, indent=1) + "\n")
            console.print(table(f"{shape}, {given.threads} threads", rows))


if __name__ == "__main__":
    main()
