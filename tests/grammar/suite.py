"""The official JSON-Schema-Test-Suite as groups, and the judge of one group.

Loads everything of drafts 4 to 2020-12, optional files too, and the documents they refer to; nothing is left out. Knows
nothing of how a grammar is made: the caller hands in `compile`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

from espalier.grammar.errors import GrammarError, RejectedError, UnsatisfiableError

Draft: TypeAlias = Literal["draft-04", "draft-06", "draft-07", "2019-09", "2020-12"]

ROOT = Path(__file__).resolve().parents[1] / "data" / "json-schema-test-suite"
EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
REMOTES = "http://localhost:1234/"  # where the suite says that its remotes are found
DRAFTS: dict[str, Draft] = {
    "draft4": "draft-04",
    "draft6": "draft-06",
    "draft7": "draft-07",
    "draft2019-09": "2019-09",
    "draft2020-12": "2020-12",
}
# Remotes of drafts that are not read, which would only be there to be parsed.
_FOREIGN = ("draft3/", "v1/")


@dataclass(frozen=True, slots=True)
class Instance:
    """A value, and whether the schema allows it."""

    description: str
    data: Any
    valid: bool

    @property
    def text(self) -> str:
        """The value as `json.dumps` spells it, which every grammar in natural spelling has to read."""
        return json.dumps(self.data, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Group:
    """A schema and its instances; `draft` is the suite's folder, `file` the path in it without `.json`."""

    draft: str
    file: str
    description: str
    schema: Any
    tests: tuple[Instance, ...]
    documents: Mapping[str, str]  # JSON texts by URI

    @property
    def dialect(self) -> Draft:
        """The draft that holds where the schema names none."""
        return DRAFTS[self.draft]

    @property
    def assert_formats(self) -> bool:
        """Whether the group tests `format` as an assertion."""
        return self.file.startswith("optional/format/")

    @property
    def key(self) -> Key:
        """What identifies it."""
        return (self.draft, self.file, self.description)


Key: TypeAlias = tuple[str, str, str]


class Cursor(Protocol):
    """What the judge needs of a cursor."""

    def accept_bytes(self, text: bytes, /) -> object: ...
    def is_complete(self) -> bool: ...


class Grammar(Protocol):
    """What the judge needs of a grammar."""

    def start(self) -> Cursor: ...


Compile: TypeAlias = Callable[[Group], Grammar]


@cache
def documents() -> Mapping[str, str]:
    """Everything that the suite refers to: its remotes, and the metaschemas with their vocabularies."""
    known = ((uri.rstrip("#"), resource.contents) for uri, resource in REGISTRY.items())
    found = {uri: json.dumps(contents) for uri, contents in known if "draft-03" not in uri}
    folder = ROOT / "remotes"
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(_FOREIGN):
            found[REMOTES + name] = path.read_text(encoding="utf-8")
    return found


def groups(*drafts: str) -> Iterator[Group]:
    """All groups of these drafts (the suite's folders; default all), in the order of the files."""
    for draft in drafts or DRAFTS:
        folder = ROOT / "tests" / draft
        for path in sorted(folder.rglob("*.json")):
            file = path.relative_to(folder).with_suffix("").as_posix()
            for group in json.loads(path.read_text(encoding="utf-8")):
                tests = tuple(Instance(test["description"], test["data"], test["valid"]) for test in group["tests"])
                yield Group(draft, file, group["description"], group["schema"], tests, documents())


def exceptions(path: Path = EXCEPTIONS) -> dict[Key, str]:
    """The groups known to be wrong, and why."""
    listed = tomllib.loads(path.read_text(encoding="utf-8")).get("exception", [])
    return {(each["draft"], each["file"], each["group"]): each["reason"] for each in listed}


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether a grammar allows a text, byte by byte, and that it ends there."""
    cursor = grammar.start()
    try:
        for byte in text.encode():
            cursor.accept_bytes(bytes([byte]))
    except RejectedError:
        return False
    return cursor.is_complete()


def faults(group: Group, compile: Compile) -> list[str]:
    """What is wrong about the grammar of a group; empty if every instance is judged right.

    A schema refused as unsatisfiable is judged right exactly when no instance is valid.
    """
    try:
        grammar = compile(group)
    except UnsatisfiableError as error:
        return [f"refuses valid {test.text[:200]}: {error}" for test in group.tests if test.valid]
    except GrammarError as error:
        return [f"{type(error).__name__}: {error}"]
    return [
        f"{'rejects valid' if test.valid else 'accepts invalid'} {test.text[:200]} ({test.description})"
        for test in group.tests
        if accepts(grammar, test.text) != test.valid
    ]
