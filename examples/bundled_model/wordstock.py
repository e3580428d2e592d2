"""Words on two sides of a line: those that training may show, and those that are kept back for measuring.

The line is a rule, not a list: an eighth of all words, made-up ones too, is kept back by its checksum. So whatever is
drawn on one side is never drawn on the other. Words of the small world and of the sentence patterns are on both sides.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

import lexicon
import words
from composition import load_parts
from facts import OF_A_PERSON, OF_A_THING
from further_memories import FURTHER
from small_talk import CAPITAL, EXCHANGES, UNKNOWN

PATTERNS_FILE = Path(__file__).resolve().parent / "patterns.json"
TOOLBOX_FILE = Path(__file__).resolve().parent / "toolbox.json"


def _everyday() -> frozenset[str]:
    """Words of sentences, without the s of a plural: nobody can keep them back."""
    text = [
        PATTERNS_FILE.read_text(),
        *(part for rule in load_parts().values() for part in rule),
        *UNKNOWN,
        *CAPITAL,
        *lexicon.SMALL_WORDS,
        *words.CAPITALS,
        *words.CAPITALS.values(),
    ]
    text += [" ".join(asked + said) for asked, said in EXCHANGES]
    text += [" ".join(told + asked) + said for _, told, asked, said in (*OF_A_PERSON.values(), *OF_A_THING.values())]
    text += [" ".join(told + asked) for told, asked in FURTHER.values()]
    for listed in vars(words).values():
        if isinstance(listed, list) and listed is not words.NAMES_HELD_OUT and listed is not words.CITIES_HELD_OUT:
            text.append(" ".join(listed))
    text += [word for group in (*lexicon.READING, *lexicon.WRITING) for word in group]
    shown = json.loads(TOOLBOX_FILE.read_text())["train"]
    keys = {key.rstrip("?") for tool in shown for key in (*tool["parameters"], *tool["result"])}
    said = {*re.findall(r"[a-z]+", " ".join([*text, json.dumps(shown)]).lower()), *keys}
    return frozenset(word.rstrip("s") for word in said)


EVERYDAY = _everyday()
_NAMED = frozenset(word.lower() for word in (*words.NAMES_HELD_OUT, *words.CITIES_HELD_OUT))


def is_kept_back(word: str) -> bool:
    """Whether training must not show this word (or a whole value)."""
    word = word.lower()
    return word in _NAMED or (words.is_kept_back(word) and word.rstrip("s") not in EVERYDAY)


def _sides(listed: list[str] | tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(w for w in listed if not is_kept_back(w)), tuple(w for w in listed if is_kept_back(w))


NOUNS, MODIFIERS, KEYS = _sides(lexicon.NOUNS), _sides(lexicon.MODIFIERS), _sides(list(lexicon.KEYS))
FIRST_NAMES, SURNAMES = (words.NAMES, words.NAMES_HELD_OUT), _sides(lexicon.SURNAMES)
CITIES = (words.CITIES, words.CITIES_HELD_OUT)
BLENDED = 0.3
"""Share of training's made-up words that are made of two: a model copies a word only by tokens that it has copied."""
_BLENDED_OF = sorted(word for word in EVERYDAY | set(NOUNS[False]) if re.fullmatch("[a-z]{4,}", word))
_ACCENTS = str.maketrans({"a": "á", "e": "é", "o": "ö", "u": "ü", "n": "ñ", "c": "ç", "i": "í"})


@dataclass(frozen=True, slots=True)
class Source:
    """What a dialogue is drawn from: kept-back words or training's, kept-back sentence patterns or training's."""

    rng: Random
    is_unseen: bool = False
    has_unseen_patterns: bool = False
    is_spaced: bool = False
    """Whether arguments are always written with spaces, as they are to be measured to the letter."""

    toolbox: Path | None = None
    """A file of known tools in place of the shipped one."""

    most_tools: int = 8
    """A dialogue offers at most so many tools."""

    def allows(self, word: str) -> bool:
        """Whether a word or value lies on this side."""
        return is_kept_back(word) == self.is_unseen

    def made_up(self) -> str:
        """A word that nobody ever saw."""
        while True:
            if not self.is_unseen and self.rng.random() < BLENDED:
                word = self._blended()
            else:
                word = words.any_made_up(self.rng, self.rng.choice((1, 2, 2, 2, 3)))
            if self.rng.random() < 0.03:
                word = word.translate(_ACCENTS)
            if len(word) > 2 and self.allows(word) and word.rstrip("s") not in EVERYDAY:
                return word

    def _blended(self) -> str:
        """The beginning of one word and the end of another."""
        first, last = self.rng.choice(_BLENDED_OF), self.rng.choice(_BLENDED_OF)
        return first[: self.rng.randint(2, min(5, len(first)))] + last[-self.rng.randint(2, min(5, len(last))) :]

    def of(self, sides: tuple[tuple[str, ...] | list[str], tuple[str, ...] | list[str]]) -> str:
        """A word of a list that has been split at the line."""
        return self.rng.choice(sides[self.is_unseen])

    def noun(self) -> str:
        """A thing in one word, real or made up."""
        return self.made_up() if self.rng.random() < 0.4 else self.of(NOUNS)

    def thing(self) -> str:
        """A thing in one or two words."""
        draw = self.rng.random()
        if draw < 0.6:
            return self.noun()
        return f"{self.of(MODIFIERS) if draw < 0.85 else self.noun()} {self.noun()}"

    def one_of(self, listed: list[str] | tuple[str, ...], *, capital: bool = False) -> str:
        """A member of a short list; if it is to be unseen, a made-up word in its place."""
        if not self.is_unseen and self.rng.random() < 0.8:
            return self.rng.choice(listed)
        word = self.made_up()
        return word.capitalize() if capital else word
