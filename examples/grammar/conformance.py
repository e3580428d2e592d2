"""How exact the grammars are: on the official JSON-Schema-Test-Suite, or on a file of schemas with labelled instances.

    conformance.py                         the suite in tests/data, by draft and file
    conformance.py schemas.jsonl.gz        lines of {"id", "group", "schema", "tests": [{"data", "valid"}]}, by group

A schema counts when it compiles, every valid instance is accepted byte by byte and every invalid one rejected, or
incomplete at its end; in any property order and natural white space. Each schema has a process of its own, killed
when its compilation or one instance takes longer than the time-out. Where we differ from a file's label, two
independent validators are asked.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
from isolation import Run, isolated
from jsonschema.validators import validator_for
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from espalier.grammar import Grammar, Json, Vocabulary, compile_grammar
from espalier.grammar.errors import GrammarError, GrammarTooLargeError, UnsatisfiableError
from tests.grammar import suite
from tests.grammar.suite import Group, Instance

BYTES = Vocabulary([bytes([byte]) for byte in range(256)])
METASCHEMAS = {uri: text for uri, text in suite.documents().items() if not uri.startswith(suite.REMOTES)}
VALIDATORS: dict[str, Callable[[Any], Any]] = {
    "jsonschema": lambda schema: _jsonschema(schema),
    "jsonschema-rs": lambda schema: (
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        if "$schema" not in schema
        else jsonschema_rs.validator_for(schema, validate_formats=True)
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """A schema to judge; `asks` whether validators give their word on what we get wrong."""

    group: Group
    formats: bool
    asks: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What a worker says of one step: the compilation (`test` None) or an instance."""

    seconds: float
    fault: str | None = None  # its kind
    detail: str = ""
    compiled: bool = True
    test: int | None = None


@dataclass(slots=True)
class Tally:
    """What became of the schemas of one group."""

    total: int = 0
    compiled: int = 0
    correct: int = 0
    timeouts: int = 0


@dataclass(slots=True)
class Findings:
    """What became of all."""

    groups: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    faults: list[dict[str, Any]] = field(default_factory=list)
    compile_s: list[float] = field(default_factory=list)
    instance_s: list[float] = field(default_factory=list)


def compiled(task: Task) -> Grammar:
    """A schema's grammar in the freest spelling."""
    constraint = Json(
        task.group.schema,
        property_order="any",
        white_space="natural",
        documents=dict(task.group.documents),
        assert_formats=task.formats,
        draft=task.group.dialect,
    )
    return compile_grammar(constraint, BYTES, ())


def judge(task: Task) -> Iterator[Judged]:
    """Compile a schema and judge its instances, one message for each."""
    began = time.perf_counter()
    try:
        grammar = compiled(task)
    except UnsatisfiableError as error:
        yield Judged(time.perf_counter() - began, compiled=False)
        wrong = [number for number, test in enumerate(task.group.tests) if test.valid]
        for number in wrong:
            word = verdict(task, number)
            yield Judged(0.0, "refused as unsatisfiable", f"{error}{word}", compiled=False, test=number)
        return
    except GrammarError as error:
        kind = f"refused: {type(error).__name__}"
        if isinstance(error, GrammarTooLargeError):
            kind += f" {error.limit}"
        yield Judged(time.perf_counter() - began, kind, str(error), compiled=False)
        return
    yield Judged(time.perf_counter() - began)
    for number, test in enumerate(task.group.tests):
        began = time.perf_counter()
        accepted = suite.accepts(grammar, test.text)
        seconds = time.perf_counter() - began
        if accepted == test.valid:
            yield Judged(seconds, test=number)
        else:
            kind = "rejects valid" if test.valid else "accepts invalid"
            yield Judged(seconds, kind, test.text[:160] + verdict(task, number), test=number)


def verdict(task: Task, number: int) -> str:
    """What independent validators say of an instance whose label we differ from."""
    test, said = task.group.tests[number], list[str]()
    for name, make in VALIDATORS.items() if task.asks else ():
        try:
            agrees = make(task.group.schema).is_valid(test.data) == test.valid
            said.append(f"{name} agrees with {'the label' if agrees else 'US'}")
        except Exception as error:
            said.append(f"{name} fails: {type(error).__name__}")
    return f" [{'; '.join(said)}]" if said else ""


def _jsonschema(schema: Any) -> Any:
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def suite_tasks(drafts: Iterable[str]) -> Iterator[Task]:
    """The official suite."""
    for group in suite.groups(*drafts):
        yield Task(group, group.assert_formats, asks=False)


def file_tasks(path: Path, formats: bool) -> Iterator[Task]:
    """A file of schemas with labelled instances."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            read = json.loads(line)
            tests = tuple(Instance("", test["data"], test["valid"]) for test in read["tests"])
            group = Group("draft2020-12", read["group"], read["id"], read["schema"], tests, METASCHEMAS)
            yield Task(group, formats, asks=True)


def note(findings: Findings, run: Run[Task, Judged]) -> None:
    """Count one run."""
    group = run.task.group
    tally = findings.groups[section(run.task)]
    has_compiled = bool(run.messages) and run.messages[0].compiled
    faults = [(judged.fault, judged.detail) for judged in run.messages if judged.fault]
    if run.ended:
        stage = "in an instance" if run.messages else "in compile"
        faults.append((f"{run.ended} {stage}", run.detail))
    tally.total += 1
    tally.compiled += has_compiled
    tally.correct += not faults
    tally.timeouts += run.ended == "timeout"
    findings.compile_s += [judged.seconds for judged in run.messages[:1]]
    findings.instance_s += [judged.seconds for judged in run.messages[1:]]
    if faults:
        where = {"group": group.file, "id": group.description, "draft": group.draft}
        findings.faults.append(where | {"faults": faults, "listed": group.key in EXCEPTIONS})


EXCEPTIONS = suite.exceptions()


def section(task: Task) -> str:
    """The line of the table that a task counts for."""
    if task.asks:
        return task.group.file
    part = task.group.file.rpartition("/")[0] or "mandatory"
    return f"{task.group.draft} {part}"


def tables(findings: Findings, by_file: bool) -> Iterator[Table]:
    """Shares by group; with `by_file` also the suite's files that are not fully correct."""
    table = Table("group", "schemas", "compiled", "correct", "correct %", "time-outs")
    every = Tally()
    for name, tally in sorted(findings.groups.items()):
        table.add_row(*_row(name, tally))
        for key in ("total", "compiled", "correct", "timeouts"):
            setattr(every, key, getattr(every, key) + getattr(tally, key))
    table.add_section()
    table.add_row(*_row("all", every))
    yield table
    if by_file:
        files = Counter((fault["draft"], fault["group"]) for fault in findings.faults)
        wrong = Table("draft", "file", "wrong groups")
        for (draft, file), count in sorted(files.items()):
            wrong.add_row(draft, file, str(count))
        yield wrong


def _row(name: str, tally: Tally) -> list[str]:
    share = f"{tally.correct / max(tally.total, 1):.2%}"
    return [name, str(tally.total), str(tally.compiled), str(tally.correct), share, str(tally.timeouts)]


def report(findings: Findings, console: Console, by_file: bool) -> None:
    """Everything, for people."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for each in findings.faults:
        for kind, detail in each["faults"]:
            mark = " (listed)" if each["listed"] else ""
            kinds[kind].append(f"{each['draft']} {each['group']} / {each['id']}{mark}: {detail}")
    for kind, lines in sorted(kinds.items(), key=lambda item: len(item[1])):
        console.print(f"\n{kind}: {len(lines)}", style="bold", highlight=False)
        for line in lines:
            console.print("  " + line, markup=False, highlight=False, soft_wrap=True)
    for table in tables(findings, by_file):
        console.print(table)
    for name, times in (("compile", sorted(findings.compile_s)), ("instance", sorted(findings.instance_s))):
        if times:
            shown = [f"{times[min(len(times) - 1, int(share * len(times)))] * 1000:,.1f}" for share in (0.5, 0.99, 1)]
            console.print(f"{name} ms, p50 / p99 / most: {' / '.join(shown)}", highlight=False)


def main() -> int:
    """Judge, report; 1 if anything is wrong that is not listed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="lines of schemas; default the suite")
    parser.add_argument("--drafts", nargs="+", choices=suite.DRAFTS, default=list(suite.DRAFTS))
    parser.add_argument("--only", default="", help="a regular expression for the names of files, groups and ids")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th schema")
    parser.add_argument("--annotate-formats", action="store_true", help="of a file: formats are no assertions")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout-s", type=float, default=10.0, help="for a compilation, and for each instance")
    parser.add_argument("--memory-mib", type=int, default=2048, help="address space of a worker")
    parser.add_argument("--json", type=Path, help="also write the findings there")
    given = parser.parse_args()
    tasks = file_tasks(given.file, not given.annotate_formats) if given.file else suite_tasks(given.drafts)
    only = re.compile(given.only)
    chosen = [task for task in tasks if only.search("/".join(task.group.key))][:: given.every]
    findings = Findings()
    limits = {"jobs": given.jobs, "timeout_s": given.timeout_s, "memory_bytes": given.memory_mib << 20}
    for run in isolated(chosen, judge, **limits):
        note(findings, run)
    report(findings, Console(width=200), by_file=given.file is None)
    if given.json:
        told = {"groups": {name: vars_of(tally) for name, tally in findings.groups.items()}, "faults": findings.faults}
        given.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return int(any(not each["listed"] for each in findings.faults))


def vars_of(tally: Tally) -> dict[str, int]:
    """A tally as a plain object."""
    return {"total": tally.total, "compiled": tally.compiled, "correct": tally.correct, "timeouts": tally.timeouts}


if __name__ == "__main__":
    sys.exit(main())
