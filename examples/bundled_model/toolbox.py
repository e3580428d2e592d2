"""Tools that people know, with whole sentences that ask for them; in training their nouns are often exchanged."""

from __future__ import annotations

import json
import re
from functools import cache
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
    """The tool with another noun wherever its own is said, so that the sentences have to be read."""
    nouns = [word for word in entry["name"].split("_")[1:] if len(word) > 3]
    told = {word: [ask for ask in entry["ask"] if re.search(rf"\b{word}", ask.lower())] for word in nouns}
    told = {word: asks for word, asks in told.items() if len(asks) > 1}
    if not told:
        return entry
    old, new = source.rng.choice(list(told)), source.noun()

    def other(text: str) -> str:
        return text.replace(old, new).replace(capital(old), capital(new))

    parameters = {other(key): kind for key, kind in entry["parameters"].items()}
    if len({key.rstrip("?") for key in parameters}) < len(entry["parameters"]):
        return entry
    return entry | {
        "name": other(entry["name"]),
        "description": other(entry["description"]),
        "parameters": parameters,
        "ask": [other(ask) for ask in told[old]],
    }


def known_tool(source: Source, entry: Entry, *, may_rename: bool = False) -> Tool:
    """A tool of the toolbox."""
    rng = source.rng
    if may_rename and rng.random() < 0.5:
        entry = renamed(source, entry)
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
