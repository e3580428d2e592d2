"""Random walks through the masks of a real vocabulary, judged by two validators, over the schemas of a file.

    walks.py schemas.jsonl.gz --walks 100000               the bundled model's vocabulary
    walks.py schemas.jsonl.gz --vocabulary tekken.json     another one: a tekken.json or tokenizer.json

Lines of the file are {"id", "schema"}. Each schema is walked in every combination of spelling options. A walk draws
uniformly from the allowed tokens, at most a drawn budget of them, and ends by its shortest completion. The same seed
makes the same walks. Each schema has a process of its own, killed when it is silent for longer than the time-out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from isolation import Run, isolated
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from espalier.gateway.bench.mask_workload import VocabularyFileError, read_vocabulary
from espalier.grammar import Json, Vocabulary, compile_grammar
from espalier.grammar.errors import GrammarError, GrammarTooLargeError
from tests.grammar.walk import BUDGETS, KINDS, OPTIONS, Judge, Options, Walk, walk

BUNDLED = Path(__file__).resolve().parents[2] / "engine" / "bundled" / "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Task:
    """A schema, and how many walks it is to be given in each combination of options."""

    name: str
    schema: Any
    num_walks: int
    seed: int


@dataclass(frozen=True, slots=True)
class Told:
    """One walk: what was written, what is wrong with it; or (`walked` None) why there was none."""

    options: Options
    key: str
    walked: Walk | None
    faults: tuple[str, ...] = ()
    keywords: frozenset[str] = frozenset()


class Walker:
    """The work of one process: all walks over one schema."""

    def __init__(self, vocabulary: Vocabulary, end_token: int) -> None:
        self._vocabulary, self._end_token = vocabulary, end_token
        cursor = compile_grammar(Json({}), vocabulary, [end_token]).start()
        cursor.accept_bytes(b'"')  # what free strings share is made once, before processes are forked
        cursor.allowed()

    def __call__(self, task: Task) -> Iterator[Told]:
        """Walks in every combination of options."""
        sys.setrecursionlimit(20_000)
        judges = {asserted: Judge(task.schema, asserted) for asserted in (False, True)}
        for number, options in enumerate(OPTIONS):
            try:
                grammar = compile_grammar(options.constraint(task.schema), self._vocabulary, [self._end_token])
            except GrammarError as error:
                limit = f" {error.limit}" if isinstance(error, GrammarTooLargeError) else ""
                yield Told(options, "", None, (f"refused: {type(error).__name__}{limit}",))
                continue
            for turn in range(task.num_walks):
                key = f"{task.seed}/{task.name}/{number}/{turn}"
                random = Random(key)
                done = walk(grammar.start(), random, self._vocabulary, self._end_token, random.choice(BUDGETS))
                yield self._told(options, key, done, judges[options.assert_formats])

    def _told(self, options: Options, key: str, done: Walk, judge: Judge) -> Told:
        if done.fault:
            return Told(options, key, done, (done.fault,))
        try:
            text = done.text.decode()
        except UnicodeDecodeError as error:
            return Told(options, key, done, (f"not UTF-8: {error}",))
        return Told(options, key, done, tuple(judge.faults(text)), frozenset(judge.keywords(text)))


@dataclass(slots=True)
class Findings:
    """What became of all."""

    num_schemas: int = 0
    walks: Counter[Options] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ended_early: int = 0
    lengths: list[int] = field(default_factory=list)  # bytes
    drawn: list[int] = field(default_factory=list)  # tokens
    tails: list[int] = field(default_factory=list)  # bytes
    keywords: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, Options | None, str, str]] = field(default_factory=list)  # key, options, text, fault

    def note(self, run: Run[Task, Told]) -> None:
        """Count one schema."""
        self.num_schemas += 1
        if run.ended:
            self.faults.append((run.task.name, None, "", f"{run.ended} {run.detail}"))
        for told in run.messages:
            if told.walked is None:
                self.refused[f"{run.task.name} {told.faults[0]}"] += 1
                continue
            self.walks[told.options] += 1
            self.ended_early += told.walked.num_tokens not in BUDGETS or not told.walked.tail_len
            self.lengths.append(len(told.walked.text))
            self.drawn.append(told.walked.num_tokens)
            self.tails.append(told.walked.tail_len)
            self.keywords.update(told.keywords)
            text = told.walked.text.decode(errors="replace")
            self.faults += [(told.key, told.options, text, fault) for fault in told.faults]


def tell(found: Findings, run: Run[Task, Told], console: Console) -> None:
    """Count one schema, and say at once what is wrong with it."""
    before = len(found.faults)
    found.note(run)
    for key, options, text, fault in found.faults[before:]:
        console.print(f"{key} ({options}): {fault}\n    {text[:600]}", markup=False, highlight=False, soft_wrap=True)


def report(found: Findings, console: Console) -> None:
    """Everything, for people."""
    for name, count in sorted(found.refused.items()):
        console.print(f"{name}, {count} combinations", markup=False, highlight=False)
    table = Table("options", "walks", "faults")
    wrong = Counter(options for _, options, _, _ in found.faults)
    for options in OPTIONS:
        table.add_row(str(options), f"{found.walks[options]:,}", str(wrong[options]))
    table.add_row("all", f"{found.walks.total():,}", str(len(found.faults)))
    console.print(table)
    sizes = Table("", "least", "p10", "p50", "p90", "p99", "most")
    for name, values in (("bytes written", found.lengths), ("tokens drawn", found.drawn), ("of tails", found.tails)):
        ordered = sorted(values) or [0]
        places = (int(share * (len(ordered) - 1)) for share in (0, 0.1, 0.5, 0.9, 0.99, 1))
        sizes.add_row(name, *(f"{ordered[place]:,}" for place in places))
    console.print(sizes)
    reached = Table("keyword", "walks that reached it")
    for keyword in sorted(KINDS, key=lambda name: -found.keywords[name]):
        reached.add_row(keyword, f"{found.keywords[keyword]:,}")
    console.print(reached)
    ended = f"{found.ended_early:,} ended by themselves"
    console.print(
        f"{found.num_schemas:,} schemas, {found.walks.total():,} walks, {ended}, {len(found.faults):,} faults"
    )


def tasks(path: Path, every: int, num_walks: int, seed: int) -> Iterable[Task]:
    """The schemas of a file, each so many-th."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines][::every]
    each = -(-num_walks // (len(read) * len(OPTIONS)))
    return [Task(line["id"], line["schema"], each, seed) for line in read]


def main() -> int:
    """Walk, report; 1 if anything is wrong, 2 if a file can't be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemas", type=Path, help="lines of {id, schema}, .gz or not")
    parser.add_argument("--vocabulary", type=Path, default=BUNDLED)
    parser.add_argument("--walks", type=int, default=10_000, help="in all, rounded up to as many for each schema")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="only each so many-th schema")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout-s", type=float, default=60.0, help="for a compilation, and for each walk")
    parser.add_argument("--memory-mib", type=int, default=4096, help="address space of a process")
    given = parser.parse_args()
    try:
        tokens, end_token = read_vocabulary(given.vocabulary)
        chosen = tasks(given.schemas, given.every, given.walks, given.seed)
    except (OSError, ValueError, VocabularyFileError) as error:
        print(f"walks.py: error: {error}", file=sys.stderr)
        return 2
    work, found = Walker(Vocabulary(tokens), end_token), Findings()
    limits = {"jobs": given.jobs, "timeout_s": given.timeout_s, "memory_bytes": given.memory_mib << 20}
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("schemas", total=len(chosen))
        for run in isolated(chosen, work, **limits):
            tell(found, run, progress.console)
            progress.advance(bar)
    report(found, Console(width=200))
    return int(bool(found.faults))


if __name__ == "__main__":
    sys.exit(main())
