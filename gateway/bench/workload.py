"""What is asked: conversations of plain words, their lengths and when they begin. A function of the seed alone.

A length is in tokens as the server counts them; `words_per_token` turns it into words, measured before (`calibrate`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

# Short and frequent, so that most tokenizers have them whole.
WORDS = (
    "the of and to in that it was for on are as with his they at be this have from or one had by word but not what all "
    "were we when your can said there use an each which she do how their if will up other about out many then them so "
    "some her would make like him into time has look two more write go see number no way could people my than first "
    "water been call who oil its now find long down day did get come made may part over new sound take only little "
    "work know place year live me back give most very after thing our just name good sentence man think say great "
    "where help through much before line right too mean old any same tell boy follow came want show also around form "
    "three small set put end does another well large must big even such because turn here why ask went men read need "
    "land different home us move try kind hand picture again change off play spell air away animal house point page"
).split()


@dataclass(frozen=True, slots=True)
class Lengths:
    """A number of tokens: always `low`, or log-uniform from `low` to `high`."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """From `N` or `LOW:HIGH`. Raises ValueError."""
        low, _, high = text.partition(":")
        lengths = cls(int(low), int(high or low))
        if not 1 <= lengths.low <= lengths.high:
            raise ValueError(f"expected N or LOW:HIGH with 1 <= LOW <= HIGH, got {text!r}")
        return lengths

    def draw(self, source: random.Random) -> int:
        """One length."""
        if self.low == self.high:
            return self.low
        return round(math.exp(source.uniform(math.log(self.low), math.log(self.high))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The shape of the conversations of a run."""

    turns: int = 1
    system_tokens: int = 0
    prompt_tokens: Lengths = Lengths(200, 200)
    answer_tokens: Lengths = Lengths(100, 100)
    words_per_token: float = 0.75
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and the longest answer."""

    text: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A shared system prompt, if any, and turns of one's own."""

    system: str | None
    turns: list[Turn] = field(default_factory=list)


def conversation(workload: Workload, level: int, number: int) -> Conversation:
    """The `number`-th conversation of a level. Levels share no text, so that each begins with a cold cache."""
    source = random.Random(f"{workload.seed}/{level}/{number}")
    return Conversation(
        system_text(workload, level),
        [
            Turn(words(source, workload.prompt_tokens.draw(source), workload), workload.answer_tokens.draw(source))
            for _ in range(workload.turns)
        ],
    )


def system_text(workload: Workload, level: int) -> str | None:
    """The system prompt that all conversations of a level share."""
    if not workload.system_tokens:
        return None
    return words(random.Random(f"{workload.seed}/{level}/system"), workload.system_tokens, workload)


def words(source: random.Random, tokens: int, workload: Workload) -> str:
    """Words of about so many tokens."""
    return " ".join(source.choices(WORDS, k=max(1, round(tokens * workload.words_per_token))))


def arrivals(rate: float, count: int, seed: int) -> Iterator[float]:
    """The times in seconds of `count` Poisson arrivals at `rate` a second."""
    source, now = random.Random(f"{seed}/arrivals"), 0.0
    for _ in range(count):
        now += source.expovariate(rate)
        yield now
