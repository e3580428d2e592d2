"""`espalier grammar check SCHEMA`: what of a schema is enforced, what is wrong with it, and some answers it allows."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random

from espalier.grammar import Cursor, Grammar, GrammarError, Json, Vocabulary, compile_grammar

LONGEST = 400  # bytes of a sample before it is completed in the shortest way


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("schema", help="a file with a JSON Schema; - reads standard input")
    parser.add_argument("--samples", type=int, default=3, help="random answers to show; default 3")
    parser.add_argument("--seed", type=int, default=0, help="of the random answers")
    parser.add_argument("--property-order", choices=("schema", "any"), default="schema")
    parser.add_argument("--white-space", choices=("compact", "natural"), default="compact")
    parser.add_argument(
        "--formats",
        action="store_true",
        help="assert `format`, as the server does, but where the schema contradicts it",
    )
    drafts = ("draft-04", "draft-06", "draft-07", "2019-09", "2020-12")
    parser.add_argument("--draft", choices=drafts, default="2020-12", help="where `$schema` does not say it")
    parser.add_argument("--json", action="store_true", help="one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check and report; 1 if the schema is refused, 2 if there is none to read."""
    try:
        text = read(arguments.schema)
    except (OSError, UnicodeDecodeError) as error:
        print(f"espalier grammar check: error: {arguments.schema}: {error}", file=sys.stderr)
        return 2
    try:
        told = check(text, arguments)
    except GrammarError as error:
        if arguments.json:
            print(json.dumps(refusal(error)))
        print(f"espalier grammar check: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(told) if arguments.json else report(told))
    return 0


def read(name: str) -> str:
    """The text of a file, or of standard input."""
    return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


def refusal(error: GrammarError) -> dict[str, object]:
    """An error as data: its kind, its message, and the path or the limit where it has one."""
    where = {name: getattr(error, name) for name in ("path", "limit") if hasattr(error, name)}
    return {"error": type(error).__name__, "message": str(error), **where}


def check(text: str, arguments: argparse.Namespace) -> dict[str, object]:
    """All that is told about a schema. Raises GrammarError."""
    constraint = Json(
        text,
        property_order=arguments.property_order,
        white_space=arguments.white_space,
        assert_formats=arguments.formats,
        formats_can_yield=arguments.formats,
        draft=arguments.draft,
    )
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)])
    began = time.perf_counter()
    grammar = compile_grammar(constraint, vocabulary)
    compile_s = time.perf_counter() - began
    rng = Random(arguments.seed)
    samples = [sample(grammar, rng).decode() for _ in range(arguments.samples)]
    return {
        "coverage": grammar.coverage(),
        "compile_s": compile_s,
        "shortest": grammar.start().shortest_completion().decode(),
        "samples": samples,
        "states": grammar.num_states,
        "bytes": grammar.num_bytes,
    }


def sample(grammar: Grammar, rng: Random) -> bytes:
    """A random answer: a walk through the masks, ended where it may end or, when it is long, in the shortest way."""
    cursor, found = grammar.start(), bytearray()
    while len(found) < LONGEST:
        allowed = _options(grammar, cursor)
        if not allowed or (cursor.is_complete() and rng.random() < 0.5):
            return bytes(found)
        byte = rng.choice(allowed)
        cursor.accept(byte)
        found.append(byte)
    return bytes(found) + cursor.shortest_completion()


def _options(grammar: Grammar, cursor: Cursor) -> list[int]:
    """The bytes that may come next; in a string those that people write, and its end more often than not."""
    allowed: list[int] = grammar.vocabulary.unpacked(cursor.allowed().mask).tolist()
    readable = [byte for byte in allowed if byte == 0x20 or (chr(byte).isalnum() and byte < 0x80)]
    ends = [byte for byte in allowed if byte in b'"}],:']
    return ends * 4 + readable if ends and readable else readable or allowed


def report(told: dict[str, object]) -> str:
    """The same for people."""
    coverage, samples = told["coverage"], told["samples"]
    assert isinstance(coverage, dict) and isinstance(samples, list)
    lines = [f"{name:12}{', '.join(keywords) or '-'}" for name, keywords in coverage.items()]
    lines.append(f"{'compiled':12}in {float(str(told['compile_s'])) * 1000:.1f} ms")
    lines.append(f"{'states':12}{told['states']} made so far, about {told['bytes']} bytes")
    lines += [f"{'shortest':12}{told['shortest']}", *(f"{'sample':12}{answer}" for answer in samples)]
    return "\n".join(lines)
