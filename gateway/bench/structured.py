"""`espalier bench structured`: what a grammar costs or saves, constrained against free decoding of the same bytes.

Both arms emit the same instances of the schemas, the values teacher-forced: every step runs whole (mask, sampling),
then the instance's own token replaces the drawn one. The free arm takes a step for each token of the instance as the
tokenizer writes it. The constrained arm takes steps where the grammar leaves a choice; what is forced comes as prefill.
Nothing is shared between requests but compiled grammars and their masks: the prefix tree is off in both arms.

    forced       share of the constrained arm's tokens that were never drawn
    cold, warm   the first pass with a schema, compilation included; and the next one
    structural   instances of which at least 70 % of the bytes are names, punctuation and what else is no value
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.errors import RequestError
from espalier.engine.loader import Loaded, load
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.sequence import Sequence
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.bench.mask_workload import Case, cases_of, many_cases
from espalier.gateway.bench.tekken import read_tekken
from espalier.grammar import GrammarError, Json, RejectedError, compile_grammar

PROMPT_LEN = 32
STRUCTURAL = 0.7
ABLATIONS = {
    "all": {},
    "without jump-forward": {"jump_forward": False},
    "without sparse head": {"sparse_head": False},
    "without kept masks": {"mask_cache": False},
    "with none of them": {"jump_forward": False, "sparse_head": False, "mask_cache": False},
}


@dataclass(frozen=True, slots=True)
class Script:
    """What one request says: its text, the text in tokens, and how much of it is structure."""

    constraint: Json
    text: bytes
    token_ids: tuple[int, ...]
    token_at: dict[int, int]
    """The token that begins at a byte."""
    structural: float


class TaughtSampler(Sampler):
    """Draws as always, then says what its scripts say."""

    def __init__(self, end_token_ids: tuple[int, ...], tokenizer: Tokenizer, scripts: dict[str, Script]) -> None:
        super().__init__(end_token_ids)
        self._tokenizer, self._scripts = tokenizer, scripts
        self._progress: dict[str, tuple[int, int]] = {}

    def sample(
        self,
        logits_rv: Tensor,
        sequences: list[Sequence],
        masks: NDArray[np.int32] | None = None,
        is_masked: NDArray[np.bool_] | None = None,
        *,
        attempt: int = 0,
    ) -> list[Drawn]:
        """As `Sampler.sample`, with other tokens."""
        drawn = super().sample(logits_rv, sequences, masks, is_masked, attempt=attempt)
        return [
            replace(one, token_id=self._said(sequence, None if masks is None else masks[row]))
            for row, (one, sequence) in enumerate(zip(drawn, sequences, strict=True))
        ]

    def forget(self) -> None:
        """All scripts begin anew."""
        self._progress.clear()

    def _said(self, sequence: Sequence, mask: NDArray[np.int32] | None) -> int:
        script, known = self._scripts[sequence.request_id], self._tokenizer.token_bytes
        length, place = self._progress.get(sequence.request_id, (sequence.prompt_len, 0))
        place += sum(len(known[token] or b"") for token in sequence.ids(length, sequence.length).tolist())
        self._progress[sequence.request_id] = sequence.length, place
        if mask is None:
            return script.token_ids[sequence.num_generated]
        if place >= len(script.text):
            return self._tokenizer.end_token_ids[0]
        return self._next(script, place, mask)

    def _next(self, script: Script, place: int, mask: NDArray[np.int32]) -> int:
        """The tokenizer's own token from there on if one begins there; else the longest that is allowed."""
        token = script.token_at.get(place, -1)
        if token >= 0 and mask[token >> 5] >> (token & 31) & 1:
            return token
        trie, node, found = self._tokenizer.vocabulary.trie, 0, -1
        for byte in script.text[place:]:
            node = trie.children(node).get(byte, -1)
            if node < 0:
                break
            found = next((token for token in trie.at(node).tolist() if mask[token >> 5] >> (token & 31) & 1), found)
        return found


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
                ends = accumulate(len(tokenizer.token_bytes[token] or b"") for token in token_ids)
                token_at = dict(zip((0, *ends), token_ids, strict=False))
                yield Script(constraint, data, token_ids, token_at, 1 - value_len(value) / len(data))


@dataclass(frozen=True, slots=True)
class Pass:
    """One arm over all scripts."""

    seconds: float
    forced: int
    generated: int
    steps: int


def run_pass(engine: Engine, scripts: dict[str, Script], is_constrained: bool, batch: int) -> Pass:
    """Emit all scripts, at most `batch` at once. Raises RequestError if the engine said anything else."""
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
        raise RequestError(f"{len(wrong)} of {len(scripts)} requests did not say their instance, {wrong[0]} the first")
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
    parser.add_argument("--threads", type=int, help="CPU threads; default all cores")
    parser.add_argument("--schemas", type=Path, help="lines of {id, schema, tests}, .gz or not; default made-up tools")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th schema")
    parser.add_argument("--most-tokens", type=int, default=400, help="leave longer instances out")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32], help="requests at once")
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
        parts = {"all": scripts, "structural": [script for script in scripts if script.structural >= STRUCTURAL]}
        for part, chosen in parts.items():
            named = {str(at): script for at, script in enumerate(chosen)}
            for batch in args.batch if named else ():
                with console.status(f"{part}, batch {batch}"):
                    rows += measure(options, loaded, named, batch, part, ABLATIONS if args.ablations else ("all",))
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
    options: EngineOptions, loaded: Loaded, scripts: dict[str, Script], batch: int, part: str, names: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """A row for each way of the constrained arm, beside the free arm of the same run."""

    def passes(is_constrained: bool, count: int, **changes: Any) -> list[Pass]:
        taught = TaughtSampler(loaded.tokenizer.end_token_ids, loaded.tokenizer, scripts)
        engine = Engine(replace(options, **changes), loaded=loaded, sampler=taught)
        found = []
        for _ in range(count):
            taught.forget()
            found.append(run_pass(engine, scripts, is_constrained, batch))
        return found

    free = min(passes(False, 2), key=lambda one: one.seconds)
    for name in names:
        cold, warm = passes(True, 2, **ABLATIONS[name])
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
