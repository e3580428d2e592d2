"""Tools that a dialogue offers, and how they are made up by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import lexicon
from composition import Composer
from phrasebook import LOOKS, Phrasebook, capital, key_words
from values import ITEMS, KINDS, Value, make_value
from wordstock import KEYS, MODIFIERS, Source

JsonSchema = dict[str, Any]
SHORT, HINTED, DESCRIBED = 0.05, 0.08, 0.15
"""Shares of training's parameters that have a short key, a hint in their schema, a description in other words."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a tool. `kind` says what its values look like; an enumeration has `options`."""

    key: str
    kind: str
    is_required: bool = True
    options: tuple[str, ...] = ()
    description: str = ""
    called: str = ""
    """What people call it, where the key is a short form."""

    hints: tuple[tuple[str, Value], ...] = ()
    """What else its schema says: a default, an example, a least value."""

    @property
    def words(self) -> str:
        """Its name as people say it."""
        return self.called or key_words(self.key)

    @property
    def looks(self) -> str:
        """What its values look like in a sentence."""
        return "option" if self.options else LOOKS.get(self.kind, "text")

    def schema(self, *, is_titled: bool = False) -> JsonSchema:
        """Its JSON Schema."""
        schema: JsonSchema = {"type": KINDS[self.kind][0]}
        if schema["type"] == "array":
            schema["items"] = {"type": ITEMS.get(self.kind, "string")}
        if self.options:
            schema["enum"] = list(self.options)
        if self.description:
            schema["description"] = self.description
        return schema | dict(self.hints) | ({"title": capital(key_words(self.key))} if is_titled else {})

    def value(self, source: Source) -> Value:
        """A value that fits."""
        return source.rng.choice(self.options) if self.options else make_value(source, self.kind)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `verbs` say what it does; `asks` are whole sentences, of the toolbox only."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    verbs: tuple[str, ...] = ()
    noun: str = ""
    asks: tuple[str, ...] = ()
    result: tuple[tuple[str, str], ...] = ()
    frills: frozenset[str] = frozenset()

    @property
    def reads(self) -> bool:
        """Whether it asks for something, so that a question needs no verb."""
        return self.verbs in lexicon.READING

    def schema(self) -> JsonSchema:
        """The tool as the chat API sends it, with the frills of one client or another."""
        is_titled = "title" in self.frills
        parameters: JsonSchema = {
            "type": "object",
            "properties": {one.key: one.schema(is_titled=is_titled) for one in self.parameters},
            "required": [one.key for one in self.parameters if one.is_required],
        }
        if "closed" in self.frills:
            parameters["additionalProperties"] = False
        if "bare required" in self.frills and not parameters["required"]:
            del parameters["required"]
        function: JsonSchema = {"name": self.name, "description": self.description, "parameters": parameters}
        if not self.description:
            del function["description"]
        if "strict" in self.frills:
            function["strict"] = True
        return {"type": "function", "function": function}

    def resembles(self, other: Tool) -> bool:
        """Whether a sentence could mean both."""
        same_noun = bool(self.noun) and self.noun == other.noun
        return self.name == other.name or (
            same_noun and (self.reads or self.verbs == other.verbs) and self.reads == other.reads
        )


def _in_style(source: Source, parts: list[str]) -> str:
    """Words as one name: `get_weather`, `getWeather`, `get-weather`."""
    words = " ".join(parts).split()
    draw = source.rng.random()
    if draw < 0.65:
        return "_".join(words)
    if draw < 0.85:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if draw < 0.91:
        return "-".join(words)
    if draw < 0.94:
        return ".".join(words)
    return "".join(word.capitalize() for word in words)


def made_up_key(source: Source, kind: str) -> str:
    """A made-up name of an argument."""
    parts = [source.noun()]
    if source.rng.random() < 0.4:
        parts.insert(0, source.noun() if source.rng.random() < 0.5 else source.of(MODIFIERS))
    elif LOOKS.get(kind) == "number" and source.rng.random() < 0.3:
        parts.append(source.rng.choice(("count", "limit", "size", "number", "level")))
    elif kind == "code" and source.rng.random() < 0.3:
        parts.append(source.rng.choice(("id", "code", "number")))
    return _in_style(source, parts) if len(parts) > 1 else parts[0]


_DRAWN = [
    kind
    for kind in KINDS
    if kind not in ITEMS and kind not in ("words", "paths", "sentences", "sentence", "weather", "state")
]
_WEIGHTS = [{"integer": 4.0, "number": 5.0, "boolean": 9.0, "array": 1.2}.get(KINDS[kind][0], 1.6) for kind in _DRAWN]


def _parameter(source: Source, taken: set[str]) -> Parameter:
    rng = source.rng
    options: tuple[str, ...] = ()
    while True:
        if rng.random() < 0.5:
            key = source.of(KEYS)
            kind = lexicon.KEYS[key]
        else:
            kind = rng.choices(_DRAWN, _WEIGHTS)[0]
            key = made_up_key(source, kind)
        words = key_words(key)
        if words not in taken:
            break
    taken.add(words)
    if KINDS[kind][0] == "string" and rng.random() < 0.12:
        options = _options(source)
    about = rng.choice(
        (f"The {words}", f"{capital(words)} to use", f"the {words} of it", f"Which {words}", capital(words))
    )
    if KINDS[kind][0] == "array":
        about = rng.choice((f"List of {words}", f"The {words}"))
    return Parameter(key, kind, rng.random() < 0.75, options, about if rng.random() < 0.35 else "")


def _further(source: Source, composer: Composer, one: Parameter, taken: set[str], noun: str, verb: str) -> Parameter:
    """A parameter as training alone shows it: lists of numbers, short keys, hints, and other words about it."""
    rng = source.rng
    if one.looks == "list" and rng.random() < 0.2:
        one = replace(one, kind=rng.choice(list(ITEMS)))
    if rng.random() < SHORT:
        short = "_".join(word[: rng.randint(2, 4)] for word in one.words.split())
        if short not in taken and len(short) > 1 and source.allows(short):
            taken.add(short)
            one = replace(one, key=short, called=one.words, description=f"The {one.words}")
    if rng.random() < HINTED:
        one = replace(one, hints=_hints(source, one))
    if one.called or rng.random() < DESCRIBED:
        rule = "about_optional" if not one.is_required and rng.random() < 0.5 else "about_parameter"
        fields = {"words": one.words, "noun": noun, "verb": verb}
        about = composer.part(rule).format(**fields, **{capital(key): capital(word) for key, word in fields.items()})
        if rng.random() < 0.15:
            about += f", e.g. {one.value(source)}" if one.looks != "list" else ", one or more"
        one = replace(one, description=about)
    return one


def _hints(source: Source, one: Parameter) -> tuple[tuple[str, Value], ...]:
    if one.looks == "list":
        return (("minItems", 1),)
    if KINDS[one.kind][0] == "integer" and one.kind != "degrees" and source.rng.random() < 0.4:
        return (("minimum", 0),)
    if not one.is_required and source.rng.random() < 0.7:
        return (("default", one.value(source)),)
    if KINDS[one.kind][0] == "string" and not one.options:
        return (("examples", [str(one.value(source))]),)
    return ()


def _options(source: Source) -> tuple[str, ...]:
    if not source.is_unseen and source.rng.random() < 0.5:
        return tuple(source.rng.choice(lexicon.ENUMS).split())
    return tuple(dict.fromkeys(source.noun() for _ in range(source.rng.randint(2, 5))))


def made_up_tool(source: Source, verbs: tuple[str, ...] = (), noun: str = "") -> Tool:
    """A tool of a verb and a noun, by chance or as given."""
    rng, book = source.rng, Phrasebook(source)
    verbs = verbs or rng.choice(lexicon.READING if rng.random() < 0.45 else lexicon.WRITING)
    noun = noun or source.thing()
    taken, verb = {noun}, verbs[0]
    parameters = [_parameter(source, taken) for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4)))]
    if parameters and not any(one.is_required for one in parameters):
        first = parameters[0]
        parameters[0] = Parameter(first.key, first.kind, True, first.options, first.description)
    if book.composer:
        parameters = [_further(source, book.composer, one, taken, noun, verb) for one in parameters]
    verb = verbs[0] if rng.random() < 0.8 else rng.choice(verbs)
    parts = [verb, noun] if rng.random() < 0.85 else [noun, verb]
    if rng.random() < 0.08:
        parts.insert(0, source.noun())
    draw = rng.random()
    name, described = _in_style(source, parts), draw < 0.93
    if draw < 0.06:  # the name says nothing
        name = source.made_up() if rng.random() < 0.5 else f"{source.noun()}_{rng.randint(1, 99)}"
    spoken = rng.choice(verbs)
    text = book.pattern("description").format(
        verb=spoken, Verb=capital(spoken), verbs=_third(spoken), Verbs=capital(_third(spoken)),
        noun=noun, Noun=capital(noun), key=parameters[0].words if parameters else "name",
    )  # fmt: skip
    return Tool(name, text if described else "", tuple(parameters), verbs, noun, frills=frills(source))


def _third(verb: str) -> str:
    """Third person: `gets`, `switches on`."""
    first, _, rest = verb.partition(" ")
    if first[-1] == "y" and first[-2] not in "aeiou":
        first = f"{first[:-1]}ies"
    else:
        first += "es" if first.endswith(("s", "sh", "ch", "x", "z")) else "s"
    return f"{first} {rest}".rstrip()


def frills(source: Source) -> frozenset[str]:
    """What one client or another adds to a schema."""
    odds = {"title": 0.08, "closed": 0.25, "bare required": 0.5, "strict": 0.03}
    return frozenset(frill for frill, chance in odds.items() if source.rng.random() < chance)
