"""Sentence patterns put together from parts: so many that training cannot learn them by heart.

A rule is a list of alternatives; `<name>` in an alternative stands for a draw from the rule of that name. What comes
out has the same places (`{verb}`, `{args}`, ...) as the patterns of the same kind. Parts stand in a data file. None of
this is ever measured: patterns that are held out come from patterns.json alone.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from random import Random

PARTS_FILE = Path(__file__).resolve().parent / "composition.json"
Rules = dict[str, list[str]]

_REFERENCE = re.compile(r"<(\w+)>")
_GAP = re.compile(r" +(?=[,;!?](?:\s|$))")
"""White space before a sign that ends a word or a sentence, where two parts meet."""
_WORD = re.compile(r"[A-Za-z']+[,.]?")
_FREE = frozenset(
    "command question two twice both follow_value follow_named told asked opener closer description styles".split()
)
"""Kinds in which a word more or less changes nothing; a `not` must stay what it is."""
_NAMES = re.compile(r"\{(verbs?|noun|first|second|key|thing|value|front)\}")


@cache
def load_parts(path: Path = PARTS_FILE) -> Rules:
    """The rules of the data file."""
    rules: Rules = json.loads(path.read_text())
    return rules


@cache
def _pieces() -> dict[str, list[list[str]]]:
    """The rules with every alternative cut into text, name of a rule, text, and so on."""
    return {name: [_REFERENCE.split(one) for one in alternatives] for name, alternatives in load_parts().items()}


def plain(pattern: str) -> str:
    """A pattern without its capitals, stops and spaces at the ends: two that say the same look the same."""
    return re.sub(r"[.,!?]", "", pattern).strip().lower()


class Composer:
    """Draws patterns from rules."""

    def __init__(self, rng: Random) -> None:
        self.rng, self._rules = rng, _pieces()

    def makes(self, kind: str) -> bool:
        """Whether there is a rule for this kind of pattern."""
        return kind in self._rules

    def pattern(self, kind: str) -> str:
        """A new pattern of a kind."""
        drawn = _GAP.sub("", self.part(kind))
        if kind in ("styles", "both", "pair", "bare", "true", "false", "flag_true", "flag_false"):
            return drawn
        return self._begun(drawn) if kind != "line" and self.rng.random() < 0.75 else drawn

    def part(self, rule: str) -> str:
        """A draw from a rule."""
        alternatives = self._rules[rule]
        pieces = alternatives[int(self.rng.random() * len(alternatives))]
        if len(pieces) == 1:
            return pieces[0]
        return "".join([self.part(piece) if at % 2 else piece for at, piece in enumerate(pieces)])

    def _begun(self, pattern: str) -> str:
        """With a capital at its front, that of a place included."""
        named = _NAMES.match(pattern)
        if named:
            return f"{{{named[1].capitalize()}}}{pattern[named.end() :]}"
        return pattern[:1].upper() + pattern[1:]

    def disturbed(self, kind: str, pattern: str) -> str:
        """The pattern with a word of its own exchanged, left out or put in, where that leaves its meaning alone."""
        if kind not in _FREE:
            return pattern
        words, rng = pattern.split(" "), self.rng
        plain = [at for at, word in enumerate(words) if _WORD.fullmatch(word) and _is_far(words, at)]
        if not plain:
            return pattern
        at, draw = rng.choice(plain), rng.random()
        if draw < 0.45:
            words[at] = self.part("w")
        elif draw < 0.65 and len(words) > 3:
            del words[at]
        else:
            words.insert(at, self.part("w"))
        return " ".join(words)


def _is_far(words: list[str], at: int) -> bool:
    """Whether no value stands beside: a strange word there could be taken for a part of it."""
    beside = " ".join(words[max(0, at - 1) : at + 2])
    return not re.search(r"\{(?![VvNn](?:erb|oun))\w+\}|\|", beside)
