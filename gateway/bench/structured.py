"""`espalier bench structured`: what a grammar costs or saves, constrained against free decoding of the same bytes.

Both arms emit the same instances of the schemas, the values teacher-forced: every step runs whole (mask, sampling),
then the instance's own token replaces the drawn one. The free arm takes a step for each token of the instance as the
tokenizer writes it. The constrained arm takes steps where the grammar leaves a choice; what is forced comes as
prefill, or as drafts.
Nothing is shared between requests but compiled grammars and their masks: the prefix tree is off in both arms, and
prompts have one token, so that answers are what is measured. Both arms take the longest instances first, so that their
batches are full until near the end.

    forced       share of the constrained arm's tokens that were never drawn
    cold, warm   the first pass with a schema, compilation included; and the fastest of those after it, which take turns
                 with as many free ones, of which the fastest counts, too
    structural   instances of which at least 70 % of the bytes are names, punctuation and what else is no value
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.loader import Loaded, load
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.taught_sampler import Lesson, TaughtSampler
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.bench.mask_workload import Case, cases_of, many_cases
from espalier.gateway.bench.positive import positive
from espalier.gateway.bench.tekken import read_tekken
from espalier.grammar import GrammarError, Json, RejectedError, compile_grammar

PROMPT_LEN = 1
STRUCTURAL = 0.7
ABLATIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "without jump-forward": {"jump_forward": False},
    "without drafts": {"drafts": False},
    "without sparse head": {"sparse_head": False},
    "without kept masks": {"mask_cache": False},
    "with none of them": {"jump_forward": False, "drafts": False, "sparse_head": False, "mask_cache": False},
}


@dataclass(frozen=True, slots=True)
class Script(Lesson):
    """What one request says, under which constraint, and how much of it is structure."""

    constraint: Json
    structural: float


class WrongAnswerError(RuntimeError):
    """An engine said something else than its script."""


def ordered(value: Any, schema: Any) -> Any:
    """A value with members in the order of the schema's properties, as far as that is plain to see."""
    known = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        names = known.get("properties")
        order = {name: place for place, name in enumerate(names)} if isinstance(names, dict) else {}
        inner = {name: names[name] for name in order} if isinstance(names, dict) else {}
        pairs = sorted(value.items(), key=lambda pair: order.get(pair[0], len(order)))
        return {name: ordered(item, inner.get(name)) for name, item in pairs}
    if isinstance(value, list):
        return [ordered(item, known.get("items")) for item in value]
    return value


def value_len(value: Any) -> int:
    """Bytes of the scalars in a value, as JSON without quotes."""
    if isinstance(value, dict):
        return sum(map(value_len, value.values()))
    if isinstance(value, list):
        return sum(map(value_len, value))
    spelled = json.dumps(value, ensure_ascii=False).encode()
    return len(spelled) - 2 if isinstance(value, str) else len(spelled)


def scripts_of(cases: Iterable[Case], tokenizer: Tokenizer, most_tokens: int) -> Iterator[Script]:
    """The instances that fit: of schemas that compile, spelled compact with members in the order of the schema."""
    for case in cases:
        constraint = Json(case.schema)
        try:
            grammar = compile_grammar(constraint, tokenizer.vocabulary, tokenizer.end_token_ids)
        except GrammarError:
            continue
        for instance in case.instances:
            value = ordered(instance, case.schema)
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            token_ids = tuple(tokenizer.encode(text))
            cursor = grammar.start()
            try:
                cursor.accept_bytes(text.encode())
            except RejectedError:
                continue
            if cursor.is_complete() and 0 < len(token_ids) <= most_tokens:
                data = text.encode()
                yield Script(data, token_ids, constraint, 1 - value_len(value) / len(data))


@dataclass(frozen=True, slots=True)
class Pass:
    """One arm over all scripts."""

    seconds: float
    forced: int
    generated: int
    steps: int


def run_pass(engine: Engine, scripts: dict[str, Script], is_constrained: bool, batch: int) -> Pass:
    """Emit all scripts, at most `batch` at once. Raises WrongAnswerError if the engine said anything else."""
    before, began = engine.stats(), time.perf_counter()
    said: dict[str, bytearray] = {name: bytearray() for name in scripts}
    waiting, rng, running = iter(scripts.items()), Random(0), 0
    size = engine.vocab_size
    while True:
        while running < batch and (entry := next(waiting, None)) is not None:
            name, script = entry
            budget = 2 * len(script.token_ids) + 64 if is_constrained else len(script.token_ids)
            params = SamplingParams(
                temperature=0,
                max_tokens=budget,
                ignore_eos=not is_constrained,
                constraint=script.constraint if is_constrained else None,
            )
            engine.submit(Generate(name, [rng.randrange(size) for _ in range(PROMPT_LEN)], params))
            running += 1
        if not engine.has_work():
            break
        for output in engine.step().outputs:
            said[output.request_id] += output.text.encode()
            running -= output.finish_reason is not None
    seconds, after = time.perf_counter() - began, engine.stats()
    wrong = [name for name, script in scripts.items() if said[name] != script.text]
    if wrong:
        raise WrongAnswerError(
            f"{len(wrong)} of {len(scripts)} requests did not say their instance, {wrong[0]} the first"
        )
    return Pass(
        seconds,
        after.forced_tokens - before.forced_tokens,
        after.generated_tokens - before.generated_tokens,
        after.step - before.step,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--random-weights", choices=sorted(SHAPES), help="random weights of this shape")
    parser.add_argument("--tokenizer", type=Path, help="a tekken.json for random weights; default a made-up tokenizer")
    parser.add_argument("--model", default="bundled", help="a checkpoint; default the bundled model")
    parser.add_argument("--weights", default="auto", choices=("auto", "float32", "bfloat16", "float16", "int8"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=positive, help="CPU threads; default all cores")
    parser.add_argument("--schemas", type=Path, help="lines of {id, schema, tests}, .gz or not; default made-up tools")
    parser.add_argument("--every", type=positive, default=1, help="take each so many-th schema")
    parser.add_argument("--most-tokens", type=positive, default=400, help="leave longer instances out")
    parser.add_argument("--batch", type=positive, nargs="+", default=[1, 8, 32], help="requests at once")
    parser.add_argument("--parts", nargs="+", choices=("all", "structural"), default=["all", "structural"])
    parser.add_argument("--repeat", type=positive, default=3, help="passes of each arm, of which the fastest counts")
    parser.add_argument("--ablations", action="store_true", help="also without each of what makes it fast")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measure and report."""
    console = Console(stderr=args.json)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        options = EngineOptions(
            model=_model(args, Path(folder)),
            weights=args.weights,
            device=args.device,
            threads=args.threads,
            prefix_cache=False,
        )
        loaded = load(options)
        cases = cases_of(args.schemas, args.every) if args.schemas else many_cases(60)
        with console.status("instances"):
            scripts = list(scripts_of(cases, loaded.tokenizer, args.most_tokens))
        scripts.sort(key=lambda script: -len(script.token_ids))
        parts = {"all": scripts, "structural": [script for script in scripts if script.structural >= STRUCTURAL]}
        for part in args.parts:
            named = {str(at): script for at, script in enumerate(parts[part])}
            for batch in args.batch if named else ():
                with console.status(f"{part}, batch {batch}"):
                    rows += measure(
                        options, loaded, named, batch, part, ABLATIONS if args.ablations else ("all",), args.repeat
                    )
    about = {"bench": "structured", "model": args.random_weights or args.model, "weights": args.weights}
    if args.json:
        print(json.dumps(about | {"rows": rows}))
    else:
        console.print(table(rows, f"{about['model']}, weights {args.weights}"))
    return 0


def _model(args: argparse.Namespace, folder: Path) -> str:
    if not args.random_weights:
        return str(args.model)
    shape = SHAPES[args.random_weights]
    tokenizer = read_tekken(args.tokenizer, shape.vocab) if args.tokenizer else None
    return str(write_random_checkpoint(folder, shape, tokenizer=tokenizer))


def measure(
    options: EngineOptions,
    loaded: Loaded,
    scripts: dict[str, Script],
    batch: int,
    part: str,
    names: Iterable[str],
    repeat: int = 3,
) -> Iterator[dict[str, Any]]:
    """A row for each way of the constrained arm, beside the free arm of the same run."""
    taught = TaughtSampler(loaded.tokenizer.end_token_ids, loaded.tokenizer, scripts)

    def run_arm(engine: Engine, *, is_constrained: bool) -> Pass:
        taught.forget()
        return run_pass(engine, scripts, is_constrained, batch)

    for name in names:
        changed = replace(options, **ABLATIONS[name])
        free_engine, engine = (Engine(one, loaded=loaded, sampler=taught) for one in (options, changed))
        run_arm(free_engine, is_constrained=False)  # or the cold pass would wait for threads and memory, too
        cold = run_arm(engine, is_constrained=True)
        # In turns, so that both arms see the same machine.
        pairs = [
            (run_arm(free_engine, is_constrained=False), run_arm(engine, is_constrained=True)) for _ in range(repeat)
        ]
        free, warm = (min(one, key=lambda each: each.seconds) for one in zip(*pairs, strict=True))
        yield {
            "part": part,
            "way": name,
            "batch": batch,
            "instances": len(scripts),
            "bytes": sum(len(script.text) for script in scripts.values()),
            "forced": warm.forced / warm.generated,
            "free_s": free.seconds,
            "cold_ratio": cold.seconds / free.seconds,
            "warm_ratio": warm.seconds / free.seconds,
            "step_ratio": warm.steps / free.steps,
        }


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """For people."""
    report = Table(title=title, title_justify="left")
    columns = (
        "part",
        "way",
        "batch",
        "instances",
        "bytes",
        "forced",
        "free_s",
        "cold_ratio",
        "warm_ratio",
        "step_ratio",
    )
    for name in columns:
        report.add_column(name.replace("_", " "), justify="left" if name in ("part", "way") else "right")
    for row in rows:
        report.add_row(*(f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in columns))
    return report
