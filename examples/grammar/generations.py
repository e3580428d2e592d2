"""Constrained answers of a model at temperature 1.5 with random budgets, judged by two validators.

    generations.py schemas.jsonl.gz --answers 10000            the bundled model
    generations.py schemas.jsonl.gz --model FOLDER --batch 32

Lines of the file are {"id", "schema"}. Budgets are drawn from the shortest answer up; half of them are tight, at most
20 tokens more. Prints what was found, every fault, and how many answers their budget closed. The same seed makes the
same answers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.errors import EngineError
from espalier.engine.loader import load
from espalier.grammar import GrammarError, Json, compile_grammar
from tests.grammar.walk import Judge

TIGHT, LOOSE = 20, 200
PROMPT_LEN = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """A schema with its judge and the tokens of a short answer."""

    name: str
    constraint: Json
    judge: Judge
    shortest: int


def subjects(path: Path, every: int, engine: Engine, most: int) -> Iterator[Subject]:
    """The schemas that compile and whose short answer fits."""
    tokenizer = engine.tokenizer
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % every:
                continue
            read = json.loads(line)
            constraint = Json(read["schema"])
            try:
                grammar = compile_grammar(constraint, tokenizer.vocabulary, tokenizer.end_token_ids)
                shortest = grammar.start().closing_cost()
                judge = Judge(read["schema"], False)
            except (GrammarError, ValueError, RecursionError):
                continue
            if shortest + LOOSE <= most:
                yield Subject(read["id"], constraint, judge, shortest)


def request(name: str, subject: Subject, source: Random, vocab_size: int) -> Generate:
    """One answer with a budget of its own."""
    budget = subject.shortest + source.randint(0, source.choice((TIGHT, LOOSE)))
    params = SamplingParams(
        temperature=1.5, seed=source.randrange(2**62), max_tokens=budget, constraint=subject.constraint
    )
    return Generate(name, [source.randrange(vocab_size) for _ in range(PROMPT_LEN)], params)


def generate(engine: Engine, chosen: list[Subject], seed: int, batch: int, tell: Callable[[], None]) -> Counter[str]:
    """An answer for each of them, judged as it ends."""
    source, found = Random(seed), Counter[str]()
    texts: dict[str, list[str]] = {}
    waiting = iter(enumerate(chosen))
    while True:
        while len(texts) < batch and (entry := next(waiting, None)) is not None:
            number, subject = entry
            try:
                engine.submit(request(str(number), subject, source, engine.vocab_size))
                texts[str(number)] = []
            except EngineError as error:
                found[f"refused: {str(error)[:100]}"] += 1
        if not engine.has_work():
            return found
        for output in engine.step().outputs:
            texts[output.request_id].append(output.text)
            if output.finish_reason is None:
                continue
            subject, text = chosen[int(output.request_id)], "".join(texts.pop(output.request_id))
            found["answers"] += 1
            found["closed by their budget"] += output.closed_by_budget
            if output.finish_reason == "error":
                found[f"fault: {output.error_message}"] += 1
            faults = list(subject.judge.faults(text)) if output.finish_reason != "error" else []
            found["valid"] += output.finish_reason != "error" and not faults
            for fault in faults:
                found[f"fault: {subject.name}: {fault} in {text[:100]}"] += 1
            tell()


def main() -> int:
    """Generate, judge, report; 1 if anything is invalid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemas", type=Path)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1, help="take each so many-th schema")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    options = EngineOptions(model=args.model, weights=args.weights, threads=args.threads, max_running=args.batch)
    engine = Engine(options, loaded=load(options))
    known = list(subjects(args.schemas, args.every, engine, engine.max_context - PROMPT_LEN))
    source = Random(args.seed)
    chosen = [source.choice(known) for _ in range(args.answers)]
    with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("answers", total=len(chosen))
        found = generate(engine, chosen, args.seed, args.batch, lambda: progress.advance(task))
    stats, table = engine.stats(), Table("what", "how often", title=f"{len(known)} schemas", title_justify="left")
    for what, count in found.items():
        table.add_row(what, f"{count:,}")
    for name in ("generated_tokens", "forced_tokens", "redrawn_tokens", "sparse_rows", "failed", "step"):
        table.add_row(name, f"{getattr(stats, name):,}")
    Console().print(table)
    return 0 if found["valid"] == found["answers"] == args.answers else 1


if __name__ == "__main__":
    sys.exit(main())
