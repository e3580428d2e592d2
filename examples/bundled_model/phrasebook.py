"""Sentences from patterns: a pattern has places for a verb, a noun, arguments or a value; the rest is said as it is.

Patterns stand in a data file, by kind; of each kind some are held out. Arguments are named ("with city Oslo"), or bare
where their kind says which is meant ("in Oslo at 09:30").
"""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from composition import Composer, plain
from values import Value
from wordstock import PATTERNS_FILE, Source

Patterns = dict[str, dict[str, Any]]


@cache
def load_patterns(path: Path = PATTERNS_FILE) -> Patterns:
    """Sentence patterns by kind, then `train` or `held_out`; those of `bare` by kind of value once more."""
    loaded: Patterns = json.loads(path.read_text())
    return loaded


@dataclass(frozen=True, slots=True)
class Said:
    """An argument as a sentence says it: its name in words, its value as it is written, the kind of value."""

    key: str
    value: Value
    kind: str


COMPOSED, DISTURBED = 0.4, 0.12
"""Shares of training's patterns that are put together from parts, and that have a word changed."""
_STARTS = frozenset(
    "Please Can Could Would Will What Which Is Do Tell Give Show How Where Any Let Take For With Using Given And The Now Same".split()
)  # fmt: skip
"""First words that lose their capital behind an opener; others may be a value, which is never changed."""


@cache
def _held_out(kind: str) -> frozenset[str]:
    held_out = load_patterns()[kind]["held_out"]
    listed = [one for pool in held_out.values() for one in pool] if isinstance(held_out, dict) else held_out
    return frozenset(plain(one) for one in listed)


def _is_held_out(kind: str, pattern: str) -> bool:
    """Whether a pattern is one that training must not show, or differs from one by a sign or a capital alone."""
    return plain(pattern) in _held_out(kind)


_NEEDS_ARGUMENTS = re.compile(r"\{(?:[Pp]airs|lines|[Ff]ront)\}")
_LEAD = re.compile(r"^(?:[\s,;:!?]|[.\-/~|=>]+(?=\s))+")
"""Signs that lead arguments in behind a verb; a value may begin with a minus, a dot or a slash."""


class Phrase(str):
    """A value that is several already (`Oslo and Rome`), so it is never put between quotes."""

    __slots__ = ()


def key_words(key: str) -> str:
    """`dueDate` and `due_date` as people say them."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key).replace("_", " ").replace("-", " ").lower()


def capital(text: str) -> str:
    """With a capital at the front."""
    return text[:1].upper() + text[1:]


def said_of(values: Sequence[Value]) -> tuple[str, ...]:
    """Values as text, those of lists one by one."""
    return tuple(str(item) for value in values for item in (value if isinstance(value, list) else [value]))


class Phrasebook:
    """Draws patterns from one side of the file and fills them."""

    def __init__(self, source: Source, patterns: Patterns | None = None) -> None:
        self.source, self.rng = source, source.rng
        self._patterns = patterns or load_patterns()
        self._part = "held_out" if source.has_unseen_patterns else "train"
        self.composer = None if source.is_unseen or patterns else Composer(source.rng)

    def pattern(self, kind: str) -> str:
        """One pattern of a kind: of the file, or in training, two times in five, put together from parts."""
        composer = self.composer
        if composer is None:
            chosen: str = self.rng.choice(self._patterns[kind][self._part])
            return chosen
        while True:
            if composer.makes(kind) and self.rng.random() < COMPOSED:
                chosen = composer.pattern(kind)
            else:
                chosen = self.rng.choice(self._patterns[kind]["train"])
            if self.rng.random() < DISTURBED:
                chosen = composer.disturbed(kind, chosen)
            if not _is_held_out(kind, chosen):
                return chosen
            # A pattern of the file that differs from a held-out one by its signs alone is shown; none is made up.
            if chosen in self._patterns[kind]["train"]:
                return chosen

    def fitting(self, draw: Callable[[], str], said: Sequence[Said]) -> str:
        """A drawn pattern, which has a place that must be filled only where there are arguments."""
        pattern = draw()
        while not said and _NEEDS_ARGUMENTS.search(pattern):
            pattern = draw()
        return pattern

    def clause(self, reads: bool) -> str:
        """A pattern for one of two things to do; what only asks for something may be told instead."""
        if self.composer and self.rng.random() < COMPOSED:
            return self.composer.part("clause_read" if reads and self.rng.random() < 0.5 else "clause")
        return "{verb} the {noun}{args}" if not reads or self.rng.random() < 0.5 else "tell me the {noun}{args}"

    def bare(self, kind: str, value: str) -> str:
        """A value without its name, led in as its kind is: ` in Oslo`."""
        if self.composer and self.rng.random() < COMPOSED / 2:
            composed = self.composer.pattern("bare")
            if not _is_held_out("bare", composed):
                return composed.format(value=value)
        by_kind = self._patterns["bare"][self._part]
        pool = by_kind["any"] if self.rng.random() < 0.3 else by_kind.get(CLASSES.get(kind, kind)) or by_kind["any"]
        chosen: str = self.rng.choice(pool)
        return chosen.format(value=value)

    def spoken(self, value: Value, *, may_quote: bool = True) -> str:
        """A value as people write it into a sentence."""
        rng = self.rng
        if isinstance(value, bool):
            return rng.choice(("yes", "true") if value else ("no", "false"))
        if isinstance(value, list):
            parts = [self.spoken(item, may_quote=False) for item in value]
            last = rng.choice((" and ", " and ", ", ", ", and "))
            return last.join(filter(None, (", ".join(parts[:-1]), parts[-1])))
        if isinstance(value, str) and may_quote and not isinstance(value, Phrase) and rng.random() < 0.1:
            return rng.choice(('"{}"', '"{}"', "'{}'", "`{}`")).format(value)
        return str(value)

    def named(self, said: Said, each: str) -> str:
        """One argument with its name, by the pattern of its list."""
        if isinstance(said.value, bool) and self.rng.random() < 0.7:
            each = self.pattern("true" if said.value else "false")
        value = self.spoken(said.value)
        return each.format(key=said.key, Key=capital(said.key), value=value)

    def arguments(self, said: Sequence[Said], can_be_bare: bool) -> str:
        """Arguments as the end of a sentence, with the sign or white space that leads them in."""
        flags = [one for one in said if isinstance(one.value, bool) and (can_be_bare or self.rng.random() < 0.6)]
        rest = [one for one in said if one not in flags]
        if can_be_bare and self.rng.random() < 0.55:
            text = "".join(self.bare(one.kind, self.spoken(one.value)) for one in rest)
        elif can_be_bare and len(rest) > 1 and self.rng.random() < 0.4:
            text = self.bare(rest[0].kind, self.spoken(rest[0].value)) + self._list(rest[1:])
        else:
            text = self._list(rest)
        return text + "".join(
            self.pattern("flag_true" if one.value else "flag_false").format(key=one.key) for one in flags
        )

    def _list(self, said: Sequence[Said]) -> str:
        if not said:
            return ""
        lead, each, join, *tail = self.pattern("styles").split("|")
        joined = join.join(self.named(one, each) for one in said)
        return lead.replace("{{", "{") + joined + "".join(tail).replace("}}", "}")

    def pairs(self, said: Sequence[Said]) -> str:
        """Arguments as a list within a sentence."""
        each, parts = self.pattern("pair"), []
        parts = [self.named(one, each) for one in said]
        last = self.rng.choice((" and ", " and ", ", ", "; "))
        return last.join(filter(None, (", ".join(parts[:-1]), parts[-1])))

    def lines(self, said: Sequence[Said]) -> str:
        """Arguments one below the other."""
        each = self.pattern("line")
        return "\n".join(self.named(one, each) for one in said)

    def sentence(self, kind: str, said: Sequence[Said], *, can_be_bare: bool, **fields: str) -> str:
        """A pattern of a kind with its fields filled: `{noun}` as given, `{Noun}` with a capital, and the arguments."""
        pattern = self.fitting(lambda: self.pattern(kind), said)
        if self.rng.random() < 0.08:
            pattern = (
                re.sub(r"(?<![{\w])[A-Z]", lambda letter: letter[0].lower(), pattern)
                .replace("{V", "{v")
                .replace("{N", "{n")
                .replace("{F", "{f")
            )
        return self.fill(pattern, said, can_be_bare, fields)

    def fill(self, pattern: str, said: Sequence[Said], can_be_bare: bool, fields: dict[str, str]) -> str:
        """A pattern with its places filled."""
        filled = dict(fields) | {capital(name): capital(text) for name, text in fields.items()}
        if "{front}" in pattern.lower():
            # What stands in front is led in as ever ("on Monday"), and the rest of the arguments comes later.
            cut = self.rng.randint(1, len(said)) if "{args}" in pattern else len(said)
            front = _LEAD.sub("", self.arguments(said[:cut], can_be_bare)).rstrip()
            values = said_of([one.value for one in said])
            is_word = front.split(" ")[0].islower() and not front.startswith(values)
            filled |= {"front": front, "Front": capital(front) if is_word else front}
            said = said[cut:]
        if "{args}" in pattern:
            filled["args"] = self.arguments(said, can_be_bare) if said or "front" not in filled else ""
        elif "{lines}" in pattern:
            filled["lines"] = self.lines(said)
        else:
            filled["pairs"] = self.pairs(said) if said else ""
            filled["Pairs"] = (
                capital(filled["pairs"]) if said and filled["pairs"].startswith(said[0].key) else filled["pairs"]
            )
        return pattern.format(**filled)

    def dressed(self, sentence: str) -> str:
        """As people type: with a word before or after, at times without the last sign or the first capital."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.12:
            opener = self.pattern("opener")
            is_word = sentence[:1].isupper() and not sentence[1:2].isupper() and sentence.split(" ")[0] in _STARTS
            sentence = opener + (sentence[0].lower() + sentence[1:] if opener.endswith(", ") and is_word else sentence)
        elif draw < 0.2:
            sentence = (sentence if sentence[-1] in ".?!" else f"{sentence}.") + self.pattern("closer")
        elif draw < 0.26 and sentence[-1] in "?!":
            sentence = sentence[:-1]
        return sentence


CLASSES = {
    "person": "person", "username": "person", "degrees": "count", "id": "code", "hex": "code", "ticker": "code", "version": "code",
    "amount": "count", "room": "place", "street": "place", "month": "day",
    **{f"list:{kind}": "list" for kind in ("word", "person", "place", "code", "colour", "path", "email", "count", "amount")},
}  # fmt: skip
"""Which bare patterns a kind of value takes, where they are not its own."""
LOOKS = {
    "email": "email", "date": "date", "time": "time", "path": "path", "url": "url", "count": "number", "id": "number", "degrees": "number",
    "amount": "number", "flag": "flag", "version": "version", **{kind: "list" for kind in CLASSES if kind.startswith("list:")},
}  # fmt: skip
"""What a value looks like; two that look the same can't both stand without their names."""
