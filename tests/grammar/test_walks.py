"""Random walks through the masks of a real vocabulary end, and what they write validates: a sample of walks.py."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import pytest

from espalier.gateway.bench.mask_workload import read_vocabulary, special_cases
from espalier.grammar import GrammarTooLargeError, Json, UnsatisfiableError, Vocabulary, compile_grammar
from tests.grammar import suite
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.walk import BUDGETS, OPTIONS, Judge, Options, Walk, walk

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = {case.name: case for case in special_cases()}
SAMPLED = [
    group
    for group in list(suite.groups())[::9]
    if group.key not in suite.exceptions()
    and "localhost:1234" not in json.dumps(group.schema)
    and "idn-hostname" not in group.file  # see below
]


@cache
def bundled() -> tuple[Vocabulary, int]:
    tokens, end_token = read_vocabulary(ROOT / "engine" / "bundled" / "tokenizer.json")
    return Vocabulary(tokens), end_token


def walked(constraint: Json, seed: str, num_walks: int = 1) -> list[Walk]:
    vocabulary, end_token = bundled()
    grammar = compile_grammar(constraint, vocabulary, [end_token])
    found = []
    for number in range(num_walks):
        random = Random(f"{seed} {number}")
        found.append(walk(grammar.start(), random, vocabulary, end_token, random.choice(BUDGETS)))
    return found


def assert_valid(walks: list[Walk], judge: Judge) -> None:
    for done in walks:
        text = done.text.decode()
        assert not done.fault, f"{done.fault}: {text}"
        assert not (faults := list(judge.faults(text))), f"{text}: {faults}"


def metaschema(draft: str) -> str:
    uri = f"json-schema.org/{'draft/' if draft.startswith('draft20') else ''}{suite.DRAFTS[draft]}/schema"
    return f"https://{uri}" if draft.startswith("draft20") else f"http://{uri}#"


@pytest.mark.parametrize("name", SCHEMAS)
def test_walks_over_every_keyword_validate(name: str) -> None:
    judges = {asserted: Judge(SCHEMAS[name], asserted) for asserted in (False, True)}
    for options in OPTIONS[len(name) % 2 :: 2]:
        assert_valid(walked(options.constraint(SCHEMAS[name]), f"{name} {options}"), judges[options.assert_formats])


def test_walks_over_the_suite_validate() -> None:
    num_walks = 0
    for number, group in enumerate(SAMPLED):
        constraint = Json(
            group.schema,
            property_order=OPTIONS[number % 16].property_order,
            white_space=OPTIONS[number % 16].white_space,
            escapes=OPTIONS[number % 16].escapes,
            documents=dict(group.documents),
            assert_formats=group.assert_formats,
            draft=group.dialect,
        )
        try:
            walks = walked(constraint, str(group.key))
        except UnsatisfiableError:
            continue
        num_walks += len(walks)
        schema = group.schema
        if isinstance(schema, dict) and "$schema" not in schema:
            schema = {"$schema": metaschema(group.draft), **schema}
        assert_valid(walks, Judge(schema, group.assert_formats))
    assert num_walks > 130


@pytest.mark.xfail(strict=True, raises=GrammarTooLargeError, reason="a mask counts the states of idn-hostname too far")
def test_walks_over_internationalized_host_names_end() -> None:
    walked(Json({"type": "string", "format": "idn-hostname"}, assert_formats=True, escapes="any"), "idn", 8)


@pytest.mark.xfail(strict=True, raises=GrammarTooLargeError, reason="in any order the members are searched too long")
def test_forty_tools_may_come_in_any_order() -> None:
    cursor = compile_grammar(Json(SPECIAL[TOOLS].schema, property_order="any"), bundled()[0]).start()
    cursor.accept_bytes(b'{"')
    assert set(cursor.next_bytes()) == set(b"na")


TOOLS = "anyOf of 40 tools"
SLOW = [(name, options) for name in SPECIAL for options in (OPTIONS[0], OPTIONS[-1])]
SLOW.remove((TOOLS, OPTIONS[-1]))  # see above


@pytest.mark.parametrize(
    ("name", "options"), SLOW, ids=lambda value: value if isinstance(value, str) else value.property_order
)
def test_walks_over_what_has_been_slow_somewhere_validate(name: str, options: Options) -> None:
    schema = SPECIAL[name].schema
    assert_valid(walked(options.constraint(schema), name, 2), Judge(schema, options.assert_formats))


def test_what_has_been_slow_somewhere_reads_its_instances() -> None:
    vocabulary, end_token = bundled()
    for case in SPECIAL.values():
        grammar = compile_grammar(Json(case.schema), vocabulary, [end_token])
        for instance in case.instances:
            cursor = grammar.start()
            cursor.accept_bytes(json.dumps(instance, ensure_ascii=False, separators=(",", ":")).encode())
            assert cursor.is_complete() and end_token in vocabulary.unpacked(cursor.allowed().mask)


def test_the_same_seed_makes_the_same_walk() -> None:
    constraint = OPTIONS[-1].constraint(SCHEMAS["objects"])
    assert walked(constraint, "seed", 5) == walked(constraint, "seed", 5) != walked(constraint, "other", 5)


def test_the_script_walks_reports_and_fails_on_a_file_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "schemas.jsonl.gz"
    lines = [{"id": name, "schema": SCHEMAS[name]} for name in ("objects", "contains")]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    command = [sys.executable, str(ROOT / "examples" / "grammar" / "walks.py")]
    done = subprocess.run([*command, str(path), "--walks", "64"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 schemas, 64 walks" in done.stdout and "0 faults" in done.stdout
    reached = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in done.stdout.splitlines() if "│" in line
    }
    assert int(reached["required"]) > 0 and int(reached["contains"]) > 0 and reached["pattern"] == "0"
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "error" in done.stderr
