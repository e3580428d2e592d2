"""Values of arguments and results, by kind: what a city, an order number or a path looks like."""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import lexicon
import words
from wordstock import CITIES, FIRST_NAMES, MODIFIERS, SURNAMES, Source

Value: TypeAlias = str | int | float | bool | list[str] | list[float]


def _person(source: Source) -> str:
    rng = source.rng
    first = source.made_up().capitalize() if rng.random() < 0.4 else source.of(FIRST_NAMES)
    if rng.random() < 0.6:
        return first
    return f"{first} {source.of(SURNAMES) if rng.random() < 0.5 else source.made_up().capitalize()}"


def _place(source: Source) -> str:
    rng = source.rng
    place = source.made_up().capitalize() if rng.random() < 0.5 else source.of(CITIES)
    return f"{rng.choice(('New', 'San', 'Port', 'Upper', 'Saint'))} {place}" if rng.random() < 0.1 else place


def _code(source: Source) -> str:
    rng = source.rng
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 4)))
    number = rng.randint(1, 10 ** rng.randint(2, 6))
    match rng.randrange(8):
        case 0:
            return str(rng.randint(1000, 10**8))
        case 1:
            return f"{letters}-{rng.randint(2015, 2035)}-{number % 10000:04d}"
        case 2:
            return f"{letters.lower()}{number}"
        case 3:
            return f"{rng.randint(1, 99)}{letters}"
        case 4:
            return f"{source.made_up()}-{number}"
        case _:
            return f"{letters}{rng.choice(('-', '', '_', ''))}{number}"


def _date(source: Source) -> str:
    rng = source.rng
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2045)
    name = words.MONTHS[month - 1]
    match rng.randrange(8):
        case 0:
            return f"{day} {name} {year}"
        case 1:
            return f"{name} {day}"
        case 2:
            return f"{day:02d}/{month:02d}/{year}"
        case 3:
            return f"{day}.{month}.{year}"
        case _:
            return f"{year}-{month:02d}-{day:02d}"


def _time(source: Source) -> str:
    rng = source.rng
    if rng.random() < 0.15:
        return f"{rng.randint(1, 12)}{rng.choice((' ', ''))}{rng.choice(('am', 'pm'))}"
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def _email(source: Source) -> str:
    rng = source.rng
    owner = source.made_up() if rng.random() < 0.5 else source.of(FIRST_NAMES).lower()
    more = rng.choice(("", "", f".{source.made_up()}", str(rng.randint(1, 99)), f"_{source.made_up()}"))
    return f"{owner}{more}@{source.made_up()}.{rng.choice(('com', 'org', 'net', 'eu', 'io', 'de'))}"


def _phrase(source: Source) -> str:
    rng = source.rng
    said = [source.noun()]
    for _ in range(rng.randint(1, 4)):
        draw = rng.random()
        if draw < 0.3:
            said.append(rng.choice(lexicon.SMALL_WORDS))
        said.append(source.of(MODIFIERS) if draw > 0.8 else source.noun())
    return " ".join(said)


def _title(source: Source) -> str:
    said = [source.noun().capitalize() for _ in range(source.rng.choice((1, 1, 2, 2, 3)))]
    if len(said) > 1 and source.rng.random() < 0.2:
        said.insert(-1, source.rng.choice(("of", "and", "the", "&")))
    return " ".join(said)


def _sentence(source: Source) -> str:
    text = f"{_phrase(source)} {_phrase(source)}"
    return f"{text[0].upper()}{text[1:]}{source.rng.choice(('', '.', '.'))}"


def _slug(source: Source) -> str:
    return source.rng.choice(("-", "-", "_", "")).join(source.noun() for _ in range(source.rng.choice((1, 2, 2))))


def _path(source: Source) -> str:
    rng = source.rng
    folders = "".join(f"{source.noun()}/" for _ in range(rng.choice((0, 1, 1, 2))))
    ending = rng.choice((".txt", ".md", ".csv", ".json", ".py", ".png", ".pdf", ".log", ""))
    return f"{rng.choice(('/', '', '~/', './'))}{folders}{_slug(source)}{ending}"


def _url(source: Source) -> str:
    host = f"{source.rng.choice(('', '', 'www.', 'api.'))}{source.made_up()}.{source.rng.choice(('com', 'org', 'dev', 'net'))}"
    return f"https://{host}{source.rng.choice(('', f'/{source.noun()}', f'/{source.noun()}/{source.noun()}'))}"


def _count(source: Source) -> int:
    return source.rng.randint(0, 10 ** source.rng.choice((1, 1, 2, 2, 3, 4, 5)))


def _amount(source: Source) -> float | int:
    rng = source.rng
    if rng.random() < 0.25:
        return _count(source)
    return round(rng.uniform(0, 10 ** rng.randint(1, 4)), rng.choice((1, 2)))


def _list(kind: str) -> Callable[[Source], list[str]]:
    return lambda source: [str(make_value(source, kind)) for _ in range(source.rng.choice((1, 2, 2, 3, 3, 4)))]


def _numbers(maker: Callable[[Source], float]) -> Callable[[Source], list[float]]:
    return lambda source: [maker(source) for _ in range(source.rng.choice((1, 2, 2, 3, 3, 4)))]


ITEMS = {"list:count": "integer", "list:amount": "number"}
"""JSON type of what is in a list, where that is not text."""
KINDS: dict[str, tuple[str, Callable[[Source], Value]]] = {
    "person": ("string", _person),
    "place": ("string", _place),
    "code": ("string", _code),
    "date": ("string", _date),
    "time": ("string", _time),
    "email": ("string", _email),
    "phrase": ("string", _phrase),
    "title": ("string", _title),
    "sentence": ("string", _sentence),
    "slug": ("string", _slug),
    "path": ("string", _path),
    "url": ("string", _url),
    "word": ("string", lambda s: s.thing()),
    "hex": ("string", lambda s: f"{s.rng.getrandbits(28):07x}"),
    "ticker": ("string", lambda s: s.made_up().upper()[:5]),
    "version": ("string", lambda s: ".".join(str(s.rng.randint(0, 30)) for _ in range(s.rng.choice((2, 3, 3))))),
    "phone": ("string", lambda s: s.rng.choice(("", "+", "0")) + str(s.rng.randint(10**6, 10**10))),
    "street": ("string", lambda s: f"{s.made_up().capitalize()} {s.rng.choice(('Street', 'Road', 'Lane'))} {s.rng.randint(1, 199)}"),
    "username": ("string", lambda s: f"{s.rng.choice(('', '@'))}{s.made_up()}{s.rng.choice(('', '_', str(s.rng.randint(1, 99))))}"),
    "day": ("string", lambda s: s.one_of(words.DAYS, capital=True)),
    "month": ("string", lambda s: s.one_of(words.MONTHS, capital=True)),
    "colour": ("string", lambda s: s.one_of(words.COLOURS)),
    "weather": ("string", lambda s: s.one_of(words.WEATHER)),
    "state": ("string", lambda s: s.one_of(words.STATES)),
    "room": ("string", lambda s: s.one_of(lexicon.ROOMS)),
    "language": ("string", lambda s: s.one_of(lexicon.LANGUAGES, capital=True)),
    "cuisine": ("string", lambda s: s.one_of(lexicon.CUISINES, capital=True)),
    "activity": ("string", lambda s: s.one_of(lexicon.ACTIVITIES)),
    "currency": ("string", lambda s: s.made_up().upper()[:3] if s.is_unseen else s.rng.choice(lexicon.CURRENCIES)),
    "count": ("integer", _count),
    "id": ("integer", lambda s: s.rng.randint(1, 10 ** s.rng.randint(1, 6))),
    "degrees": ("integer", lambda s: s.rng.randint(-20, 45)),
    "amount": ("number", _amount),
    "flag": ("boolean", lambda s: s.rng.random() < 0.5),
    **{f"list:{kind}": ("array", _list(kind)) for kind in ("word", "person", "place", "code", "colour", "path", "email")},
    "list:count": ("array", _numbers(_count)),
    "list:amount": ("array", _numbers(_amount)),
    "words": ("array", _list("word")),
    "paths": ("array", _list("path")),
    "sentences": ("array", lambda s: [_sentence(s) for _ in range(s.rng.choice((1, 1, 2)))]),
}  # fmt: skip
"""JSON type and maker of each kind."""


def is_allowed(source: Source, value: Value) -> bool:
    """Whether a value lies on the source's side; what has but one digit, and what is true or false, is on both."""
    if isinstance(value, list):
        return all(is_allowed(source, item) for item in value) and len(set(value)) == len(value)
    return isinstance(value, bool) or value in range(10) or source.allows(str(value))


def make_value(source: Source, kind: str) -> Value:
    """A value of a kind, on the source's side of the line."""
    maker = KINDS[kind][1]
    while not is_allowed(source, value := maker(source)):
        pass
    return value
