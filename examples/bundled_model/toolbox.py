"""Tools that people know, with whole sentences that ask for them; in training their words are often exchanged."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import lexicon
from phrasebook import capital, key_words
from tools import Parameter, Tool, frills
from wordstock import TOOLBOX_FILE, Source

Entry = dict[str, Any]


@cache
def toolbox(part: str, path: Path | None = None) -> tuple[Entry, ...]:
    """The tools of the data file: those of `train` or of `held_out`."""
    loaded: dict[str, list[Entry]] = json.loads((path or TOOLBOX_FILE).read_text())
    return tuple(loaded[part])


def renamed(source: Source, entry: Entry) -> Entry:
    """The tool with another word wherever one of its own is said, so that the sentences have to be read.

    What it does, what it is about, or what an argument is called; only the sentences that say it stay, where it is
    of the tool's name.
    """
    names = (entry["name"], *(key.rstrip("?") for key in entry["parameters"]))
    told = {
        word: [ask for ask in entry["ask"] if _spelled(word).search(_PLACE.sub("", ask))]
        for word in sorted({word for name in names for word in key_words(name).split()})
        if len(word) > 3 and word not in _SMALL
    }
    told = {word: asks for word, asks in told.items() if len(asks) > 1}
    if not told:
        return entry
    old, new = source.rng.choice(list(told)), source.noun()
    parameters = {_exchanged(key, old, new): kind for key, kind in entry["parameters"].items()}
    if len({key.rstrip("?") for key in parameters}) < len(entry["parameters"]):
        return entry
    asks = told[old] if old in key_words(entry["name"]).split() else entry["ask"]
    return entry | {
        "name": _exchanged(entry["name"], old, new),
        "description": _exchanged(entry["description"], old, new),
        "parameters": parameters,
        "ask": [_exchanged(ask, old, new) for ask in asks],
    }


_SMALL = frozenset("from into until with about over after before under when what which their your".split())
"""Words of names that sentences need for something else."""
_PLACE = re.compile(r"\{\w+\}")


@lru_cache(maxsize=4096)
def _spelled(word: str) -> re.Pattern[str]:
    """A word, also as a plural, with a capital, and as a part of a name in any style."""
    word = re.escape(word)
    return re.compile(
        rf"(?<![A-Za-z])(?:{word}|{capital(word)})(?=s?(?![a-z]))|(?<=[a-z]){capital(word)}(?=s?(?![a-z]))"
    )


def _exchanged(text: str, old: str, new: str) -> str:
    return _spelled(old).sub(lambda found: capital(new) if found[0][0].isupper() else new, text)


def other_options(source: Source, entry: Entry) -> Entry:
    """The tool with other words to choose among."""

    def others(count: int) -> str:
        words: set[str] = set()
        while len(words) < count:
            words.add(source.noun())
        return "|".join(sorted(words))

    parameters = {
        key: others(len(kind.split("|"))) if "|" in kind else kind for key, kind in entry["parameters"].items()
    }
    return entry | {"parameters": parameters}


def known_tool(source: Source, entry: Entry, *, may_rename: bool = False) -> Tool:
    """A tool of the toolbox."""
    rng = source.rng
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3)) if may_rename else 0):
        entry = renamed(source, entry)
    if may_rename and rng.random() < 0.5:
        entry = other_options(source, entry)
    is_described, parameters = rng.random() < 0.3, []
    for given, kind in entry["parameters"].items():
        key, options = given.rstrip("?"), tuple(kind.split("|")) if "|" in kind else ()
        about = rng.choice((f"The {key_words(key)}", capital(key_words(key)))) if is_described else ""
        parameters.append(Parameter(key, "word" if options else kind, not given.endswith("?"), options, about))
    parts = key_words(entry["name"]).split()
    verbs = next((group for group in (*lexicon.READING, *lexicon.WRITING) if group[0] == parts[0]), ())
    noun = parts[1] if len(parts) == 2 else ""
    return Tool(
        entry["name"], entry["description"], tuple(parameters), verbs, noun, tuple(entry["ask"]),
        tuple(entry["result"].items()), frills(source),
    )  # fmt: skip
