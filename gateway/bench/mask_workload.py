"""What grammars are measured on: a vocabulary, schemas and valid instances as tokens, where all engines find them.

The tokens of a text are the longest that fit, from its start: any other choice would be one tokenizer's own.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espalier.engine.token_bytes import token_spelling
from espalier.gateway.bench.workload import WORDS

Tokens = list[bytes | None]


class VocabularyFileError(ValueError):
    """A file that is no vocabulary that can be read."""


@dataclass(frozen=True, slots=True)
class Case:
    """A schema and values that it allows."""

    name: str
    schema: Any
    instances: tuple[Any, ...]


def read_vocabulary(path: Path) -> tuple[Tokens, int]:
    """The tokens of a tekken.json or tokenizer.json, and an end token. Raises VocabularyFileError."""
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        return _tekken(spec) if "config" in spec else _tokenizer(spec)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise VocabularyFileError(f"{path}: expected a tekken.json or a tokenizer.json ({error!r})") from None


def _tekken(spec: dict[str, Any]) -> tuple[Tokens, int]:
    special, size = spec["config"]["default_num_special_tokens"], spec["config"]["default_vocab_size"]
    texts = [base64.b64decode(entry["token_bytes"]) for entry in spec["vocab"][: size - special]]
    return [*[None] * special, *texts], 2  # </s>


def _tokenizer(spec: dict[str, Any]) -> tuple[Tokens, int]:
    spell = token_spelling(spec)
    vocab = spec["model"]["vocab"]
    pairs = vocab.items() if isinstance(vocab, dict) else ((entry[0], at) for at, entry in enumerate(vocab))
    found: dict[int, bytes | None] = {token: spell(text) for text, token in pairs}
    special = [added["id"] for added in spec.get("added_tokens", []) if added.get("special")]
    found |= dict.fromkeys(special)
    return [found.get(token) for token in range(max(found) + 1)], special[-1] if special else max(found)


class Longest:
    """Tokenizes by the longest token that fits."""

    def __init__(self, tokens: Tokens) -> None:
        self._edges: dict[tuple[int, int], int] = {}
        self._ends: dict[int, int] = {}
        for token, text in enumerate(tokens):
            if text:
                node = 0
                for byte in text:
                    node = self._edges.setdefault((node, byte), len(self._edges) + 1)
                self._ends.setdefault(node, token)

    def __call__(self, text: bytes) -> list[int]:
        """Token ids. Raises VocabularyFileError if a byte is in no token."""
        found, at = list[int](), 0
        while at < len(text):
            node, token, after = 0, -1, at
            for place in range(at, len(text)):
                if (node := self._edges.get((node, text[place]), -1)) < 0:
                    break
                if node in self._ends:
                    token, after = self._ends[node], place + 1
            if token < 0:
                raise VocabularyFileError(f"the vocabulary has no token for the byte {text[at : at + 1]!r}")
            found.append(token)
            at = after
        return found


def write(folder: Path, vocabulary: tuple[Tokens, int], cases: Iterable[Case]) -> int:
    """The workload as `mask_run` reads it; returns the number of cases."""
    tokens, end = vocabulary
    lengths = np.array([-1 if text is None else len(text) for text in tokens], dtype=np.int32)
    text = np.frombuffer(b"".join(text or b"" for text in tokens), dtype=np.uint8)
    np.savez(folder / "vocabulary.npz", text=text, lengths=lengths, end=np.array(end))
    longest, count = Longest(tokens), 0
    with (folder / "cases.jsonl").open("w", encoding="utf-8") as file:
        for case in cases:
            count += 1
            texts = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in case.instances]
            instances = [longest(text.encode()) for text in texts]
            file.write(json.dumps({"id": case.name, "schema": json.dumps(case.schema), "instances": instances}) + "\n")
    return count


def cases_of(path: Path, every: int = 1) -> Iterator[Case]:
    """Lines of {"id", "schema", "tests": [{"data", "valid"}]}, gzipped or not; each so many-th."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % every == 0:
                read = json.loads(line)
                valid = tuple(test["data"] for test in read["tests"] if test["valid"])
                yield Case(read["id"], read["schema"], valid)


def special_cases() -> Iterator[Case]:
    """What has been slow somewhere. Each has a second instance with other values."""
    source = random.Random(0)
    texts = [" ".join(source.choices(WORDS, k=1000)) for _ in range(2)]
    bounds: dict[str, dict[str, Any]] = {"a free string": {}, "maxLength 100000": {"maxLength": 100_000}}
    for name, bound in bounds.items():
        content: dict[str, Any] = {"type": "string", **bound}
        free = {"type": "object", "properties": {"content": content}, "required": ["content"]}
        yield Case(name, free, tuple({"content": text} for text in texts))
    names = ["".join(source.choices(string.ascii_lowercase, k=10)) for _ in range(2000)]
    yield Case("enum of 2,000", {"type": "array", "items": {"enum": names}}, (names[100:140], names[900:940]))
    for name, count, required, step in (("500 required", 500, True, 1), ("60 optional", 60, False, 2)):
        fields = _fields(source, count)
        schema: dict[str, Any] = {"type": "object", "properties": fields, "additionalProperties": False}
        shown = list(fields)[::step]
        instances = tuple(_object(source, {key: fields[key] for key in shown}) for _ in range(2))
        if required:
            schema["required"] = list(fields)
        yield Case(name, schema, instances)
    tools = [tool(source, number) for number in range(40)]
    called = tuple(_call(source, tools[number]) for number in (31, 7))
    yield Case("anyOf of 40 tools", {"anyOf": tools}, called)


def many_cases(count: int) -> Iterator[Case]:
    """Different schemas without end: tools, each with names of its own."""
    source = random.Random(1)
    for number in range(count):
        schema = tool(source, number)
        yield Case(f"tool {number}", schema, (_call(source, schema),))


def tool(source: random.Random, number: int) -> dict[str, Any]:
    """A call of one tool."""
    fields = _fields(source, source.randint(2, 8))
    arguments = {"type": "object", "properties": fields, "required": list(fields)[::2], "additionalProperties": False}
    name: dict[str, Any] = {"const": f"{_name(source)}_{number}"}
    properties = {"name": name, "arguments": arguments}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _call(source: random.Random, schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    arguments = _object(source, properties["arguments"]["properties"])
    return {"name": properties["name"]["const"], "arguments": arguments}


def _fields(source: random.Random, count: int) -> dict[str, dict[str, Any]]:
    return {f"{_name(source)}_{number}": dict(source.choice(_KINDS)) for number in range(count)}


_KINDS: tuple[dict[str, Any], ...] = (
    {"type": "string"},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": "string", "maxLength": 200},
    {"enum": ["low", "middle", "high"]},
    {"type": "array", "items": {"type": "number"}},
)


def _object(source: random.Random, fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: _value(source, field) for name, field in fields.items()}


def _value(source: random.Random, field: dict[str, Any]) -> Any:
    if "enum" in field:
        return source.choice(field["enum"])
    values: dict[str, Any] = {
        "string": " ".join(source.choices(WORDS, k=5)),
        "integer": source.randint(-999, 9999),
        "boolean": source.random() < 0.5,
        "array": [round(source.uniform(-10, 10), 2) for _ in range(3)],
    }
    return values[field["type"]]


def _name(source: random.Random) -> str:
    return "_".join(source.choices(WORDS, k=2))
