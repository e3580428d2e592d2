"""Sentences that state one fact, and the question that each answers."""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import words


@dataclass(frozen=True, slots=True)
class Fact:
    """A value under a key, as a sentence and as an answer."""

    key: str
    value: Any
    sentence: str
    question: str
    answer: str


Kind = tuple[Callable[[Random, bool], Any], tuple[str, ...], tuple[str, ...], str]

# Key: (maker of the value, sentences, questions, answer); {w} is whom or what it is about, {v} the value.
OF_A_PERSON: dict[str, Kind] = {
    "city": (words.city, ("{w} lives in {v}.", "{w} has a flat in {v}.", "{w} moved to {v}.", "The home of {w} is in {v}."),
             ("Where does {w} live?", "In which city does {w} live?", "Which city is {w} in?", "Tell me where {w} lives."),
             "{w} lives in {v}."),
    "job": (lambda r, h: r.choice(words.JOBS), ("{w} works as a {v}.", "{w} is a {v}.", "{w} became a {v}.", "By trade, {w} is a {v}."),
            ("What is {w}'s job?", "What does {w} do?", "What does {w} work as?", "Which job does {w} have?"), "{w} is a {v}."),
    "age": (lambda r, h: r.randint(5, 99), ("{w} is {v} years old.", "{w} turned {v} this year.", "{w} is {v}.", "At {v}, {w} is well."),
            ("How old is {w}?", "What is {w}'s age?", "What age is {w}?", "Tell me {w}'s age."), "{w} is {v} years old."),
    "pet": (lambda r, h: r.choice(words.ANIMALS), ("{w} has a {v}.", "{w} keeps a {v} at home.", "{w} lives with a {v}.", "A {v} belongs to {w}."),
            ("What animal does {w} have?", "Which pet does {w} keep?", "What is {w}'s pet?", "Which animal belongs to {w}?"), "{w} has a {v}."),
    "colour": (lambda r, h: r.choice(words.COLOURS), ("{w}'s favourite colour is {v}.", "{w} likes {v} best.", "{w} loves the colour {v}."),
               ("What is {w}'s favourite colour?", "Which colour does {w} like best?"), "{w}'s favourite colour is {v}."),
    "hobby": (lambda r, h: r.choice(words.HOBBIES), ("{w} loves {v}.", "{w}'s hobby is {v}.", "In the evening {w} likes {v}."),
              ("What does {w} love?", "What is {w}'s hobby?", "What does {w} like to do?"), "{w} loves {v}."),
    "email": (lambda r, h: words.email(r, words.name(r, h)), ("{w}'s email is {v}.", "Write to {w} at {v}.", "{w} can be reached at {v}."),
              ("What is {w}'s email?", "How can I reach {w}?", "Which email does {w} have?"), "{w}'s email is {v}."),
    "birthday": (lambda r, h: words.date(r), ("{w} was born on {v}.", "{w}'s birthday is {v}."),
                 ("When was {w} born?", "When is {w}'s birthday?"), "{w} was born on {v}."),
    "phone": (lambda r, h: str(r.randint(10**6, 10**9)), ("{w}'s phone number is {v}.", "Call {w} at {v}.", "{w} has the number {v}."),
              ("What is {w}'s phone number?", "Which number does {w} have?"), "{w}'s phone number is {v}."),
    "item": (lambda r, h: words.thing(r), ("{w} bought a {v}.", "{w} owns a {v}.", "{w} got a {v}.", "A {v} was given to {w}."),
             ("What did {w} buy?", "What does {w} own?", "What did {w} get?", "What was given to {w}?"), "{w} has a {v}."),
    "friend": (words.name, ("{w} has a friend called {v}.", "{w}'s best friend is {v}.", "{w} is a friend of {v}."),
               ("Who is {w}'s friend?", "Who is the best friend of {w}?"), "{w}'s friend is {v}."),
}  # fmt: skip
OF_A_THING: dict[str, Kind] = {
    "price": (lambda r, h: r.randint(1, 2000), ("The {w} costs {v} euros.", "The price of the {w} is {v} euros.", "You pay {v} euros for the {w}."),
              ("How much is the {w}?", "What does the {w} cost?", "What is the price of the {w}?"), "The {w} costs {v} euros."),
    "colour": (lambda r, h: r.choice(words.COLOURS), ("The {w} is {v}.", "The colour of the {w} is {v}."),
               ("What colour is the {w}?", "Which colour does the {w} have?"), "The {w} is {v}."),
    "place": (lambda r, h: r.choice(words.PLACES), ("The {w} is in the {v}.", "You find the {w} in the {v}.", "The {w} stands in the {v}."),
              ("Where is the {w}?", "In which place is the {w}?"), "The {w} is in the {v}."),
    "owner": (words.name, ("The {w} belongs to {v}.", "The owner of the {w} is {v}.", "{v} is the owner of the {w}."),
              ("Who owns the {w}?", "Whose is the {w}?", "Who is the owner of the {w}?"), "The {w} belongs to {v}."),
    "weight": (lambda r, h: r.randint(1, 90), ("The {w} weighs {v} kilos.", "The weight of the {w} is {v} kilos."),
               ("How heavy is the {w}?", "What does the {w} weigh?"), "The {w} weighs {v} kilos."),
    "code": (lambda r, h: words.code(r), ("The {w} has the code {v}.", "The code of the {w} is {v}.", "{v} is the code of the {w}."),
             ("What is the code of the {w}?", "Which code does the {w} have?"), "The code of the {w} is {v}."),
}  # fmt: skip
NUMBERS = frozenset({"age", "price", "weight"})
"""Keys whose values are integers."""


def make_fact(rng: Random, held_out: bool, kinds: dict[str, Kind], key: str, about: str) -> Fact:
    """A fact under `key` about somebody or something."""
    maker, sentences, questions, answer = kinds[key]
    value = maker(rng, held_out)
    told, asked = words.choose(rng, held_out, sentences), words.choose(rng, held_out, questions)
    return Fact(
        key, value, told.format(w=about, v=value), asked.format(w=about, v=value), answer.format(w=about, v=value)
    )


def facts_about(rng: Random, held_out: bool, each: int, about: str | None = None) -> list[Fact]:
    """Up to `each` facts about one person or thing, each under another key."""
    kinds = OF_A_PERSON if about or rng.random() < 0.7 else OF_A_THING
    about = about or (words.name(rng, held_out) if kinds is OF_A_PERSON else words.thing(rng))
    return [make_fact(rng, held_out, kinds, key, about) for key in rng.sample(list(kinds), min(each, len(kinds)))]
