"""The words of the bundled model's small world, and names made up on the spot.

A list ending in `_HELD_OUT` is never used in training: copying such a word shows that copying was learnt, not the word.
"""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")

NAMES = (
    "Ada Alan Alice Amir Ana Anders Anna Astrid Ben Bianca Bruno Carla Carlos Chen Clara Daniel David Diego Dora Elena "
    "Eli Emma Erik Eva Farid Felix Fiona Frank Freya Gita Grace Hana Hans Hugo Ida Igor Ines Ivan Jack Jamal Jana Jin "
    "Jonas Julia Kai Karin Kenji Lara Lena Leo Lily Lin Linda Lucas Luis Maja Marco Maria Mark Marta Maya Mei Mia Milan "
    "Mina Nadia Nils Nina Noah Nora Olga Oliver Omar Oscar Paul Pedro Petra Priya Ravi Rita Rosa Ruth Sam Sara Sofia "
    "Sven Tara Theo Tom Uma Vera Victor Wei Yara Yuki Zoe"
).split()
NAMES_HELD_OUT = (
    "Bela Cedric Dalia Edgar Flora Gustav Helga Imran Joana Kolya Ludmila Matteo Odette Quentin Tamsin".split()
)
CITIES = (
    "Amsterdam Athens Berlin Bern Bogota Boston Brussels Cairo Chicago Copenhagen Delhi Dublin Geneva Hamburg Hanoi "
    "Helsinki Istanbul Jakarta Kyoto Lagos Lima Lisbon London Madrid Manila Milan Montreal Munich Nairobi Oslo Paris "
    "Porto Prague Quito Riga Rome Seoul Seville Sofia Sydney Tallinn Tokyo Toronto Turin Vienna Vilnius Warsaw Zagreb "
    "Zurich"
).split()
CITIES_HELD_OUT = "Antwerp Bilbao Dakar Graz Kigali Lyon Osaka Rabat Tartu Valencia".split()
COLOURS = "red blue green yellow black white orange purple pink brown grey silver".split()
ANIMALS = "cat dog horse rabbit parrot turtle fox crow goat duck hamster lizard bear beaver hedgehog donkey".split()
FOODS = (
    "bread cheese apples pears rice soup pasta tea coffee milk honey olives tomatoes carrots plums cake butter eggs "
    "beans onions lemons salt pepper yoghurt nuts figs"
).split()
THINGS = (
    "book lamp chair table bicycle guitar camera clock kettle pillow jacket phone laptop backpack mirror vase piano "
    "ladder hammer blanket basket candle carpet bottle drum kite map ring scarf wallet tent whistle"
).split()
JOBS = (
    "teacher doctor baker nurse pilot farmer painter lawyer mechanic plumber writer gardener carpenter chef librarian "
    "dentist sailor tailor chemist singer"
).split()
PLACES = "garden kitchen library station market museum office park school harbour forest hotel theatre bakery".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TOPICS = (
    "music history football art stars space oceans money politics physics maths films wine love trees war cars trains "
    "computers books law dinosaurs volcanoes fashion poetry gardens"
).split()
CAPITALS = dict(
    pair.split(":")
    for pair in (
        "France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon Austria:Vienna Japan:Tokyo Norway:Oslo "
        "Sweden:Stockholm Greece:Athens Poland:Warsaw Ireland:Dublin Egypt:Cairo Peru:Lima Cuba:Havana Kenya:Nairobi "
        "England:London Finland:Helsinki Denmark:Copenhagen Switzerland:Bern Belgium:Brussels Canada:Ottawa China:Beijing"
    ).split()
)
MONTHS = "January February March April May June July August September October November December".split()
WEATHER = "sunny cloudy rainy windy foggy snowy stormy clear hot cold mild".split()
HOBBIES = "chess swimming painting running cooking hiking reading dancing fishing singing sailing climbing".split()
ADJECTIVES = "small large dark new round heavy light soft bright quiet broken clean cheap rare wooden long".split()

STATES = "shipped delivered lost packed delayed cancelled open closed ready waiting active paused".split()

_ONSETS = "b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh sk st t th tr v w z".split()
_VOWELS = "a e i o u ai ea ee io oo ou".split()
_CODAS = ["", "", "", "n", "r", "s", "l", "m", "t", "nd", "rk", "x", "ck"]


def is_kept_back(word: str) -> bool:
    """An eighth of all words, by their checksum: training never makes them up. A plural goes with its singular."""
    return crc32(word.lower().rstrip("s").encode()) % 8 == 0


def any_made_up(rng: Random, syllables: int = 2) -> str:
    """A pronounceable word that is in no list; some are of common syllables, some of any letters."""
    if rng.random() < 0.5:
        return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))
    starts_with_vowel = rng.random() < 0.4
    letters = ("aeiouy" if (at + starts_with_vowel) % 2 else "bcdfghjklmnpqrstvwxz" for at in range(syllables * 2 + 1))
    return "".join(rng.choice(pool) * (2 if rng.random() < 0.1 else 1) for pool in letters)


def made_up(rng: Random, syllables: int = 2) -> str:
    """A made-up word that is not kept back."""
    while is_kept_back(word := any_made_up(rng, syllables)):
        pass
    return word


def name(rng: Random, held_out: bool = False) -> str:
    """A first name; half of them made up."""
    if held_out:
        return rng.choice(NAMES_HELD_OUT)
    return made_up(rng).capitalize() if rng.random() < 0.5 else rng.choice(NAMES)


def city(rng: Random, held_out: bool = False) -> str:
    """A town; some are made up."""
    if held_out:
        return rng.choice(CITIES_HELD_OUT)
    return made_up(rng).capitalize() if rng.random() < 0.4 else rng.choice(CITIES)


def thing(rng: Random) -> str:
    """A noun, sometimes with an adjective, sometimes made up."""
    draw = rng.random()
    if draw < 0.2:
        return made_up(rng)
    if draw < 0.5:
        return f"{rng.choice(ADJECTIVES)} {rng.choice(THINGS)}"
    return rng.choice(THINGS)


def number(rng: Random) -> int:
    """A whole number, small ones more often."""
    return rng.randint(0, 10 ** rng.choice((1, 2, 2, 3, 4)))


def code(rng: Random) -> str:
    """A code of letters and digits, such as an order number."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    return f"{letters}{rng.choice(('-', ''))}{rng.randint(10, 9999)}"


def date(rng: Random) -> str:
    """A date as people write it or in ISO 8601."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2040)
    if rng.random() < 0.5:
        return f"{year}-{month:02d}-{day:02d}"
    return f"{day} {MONTHS[month - 1]} {year}"


def time_of_day(rng: Random) -> str:
    """A time such as 09:30."""
    return f"{rng.randint(0, 23):02d}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"


def email(rng: Random, owner: str) -> str:
    """An address that belongs to `owner`."""
    return f"{owner.lower()}{rng.choice(('', str(rng.randint(1, 99))))}@{made_up(rng)}.{rng.choice(('com', 'org', 'net', 'eu'))}"


def sentence(rng: Random) -> str:
    """Words in no sensible order, to be copied."""
    pools = (ADJECTIVES, THINGS, ANIMALS, FOODS, NAMES, CITIES, COLOURS, PLACES)
    drawn = [made_up(rng) if rng.random() < 0.2 else rng.choice(rng.choice(pools)) for _ in range(rng.randint(2, 9))]
    return " ".join(drawn)


def value(rng: Random, kind: str, held_out: bool = False) -> str | int | float | bool:
    """Something of a JSON type, as people mention it."""
    if kind == "integer":
        return number(rng)
    if kind == "number":
        return round(rng.uniform(0, 100), rng.choice((1, 2)))
    if kind == "boolean":
        return rng.random() < 0.5
    makers = (
        lambda: name(rng, held_out), lambda: city(rng, held_out), lambda: code(rng), lambda: thing(rng),
        lambda: rng.choice(DAYS), lambda: date(rng), lambda: rng.choice(COLOURS), lambda: made_up(rng, rng.randint(1, 3)),
        lambda: email(rng, name(rng, held_out)), lambda: time_of_day(rng),
    )  # fmt: skip
    return rng.choice(makers)()


def choose(rng: Random, held_out: bool, options: Sequence[T]) -> T:
    """One of several phrasings; of four or more the last is seen in held-out dialogues only."""
    return rng.choice(options if held_out or len(options) < 4 else options[:-1])
