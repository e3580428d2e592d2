"""Tools for the training dialogues: known ones and made-up ones, with questions, arguments, results and answers."""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import words


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, the arguments it contains, what the tool returns and how the answer tells it."""

    question: str
    arguments: dict[str, Any]
    result: Any
    answer: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with typed parameters; `ask` makes a question that calls for it."""

    name: str
    description: str
    parameters: dict[str, str]
    ask: Callable[[Random, bool], Ask]
    described: bool = False

    def schema(self) -> dict[str, Any]:
        """The tool as the chat API sends it."""
        properties: dict[str, Any] = {key: {"type": kind} for key, kind in self.parameters.items()}
        if self.described:
            for key, field in properties.items():
                field["description"] = f"The {key.replace('_', ' ')}"
        parameters = {"type": "object", "properties": properties, "required": list(self.parameters)}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def _weather(rng: Random, held_out: bool) -> Ask:
    place, kind, degrees = words.city(rng, held_out), rng.choice(words.WEATHER), rng.randint(-15, 39)
    asked = words.choose(rng, held_out, (
        f"What is the weather in {place}?", f"How is the weather in {place} today?", f"Weather in {place}, please.",
        f"Is it nice in {place}?", f"What's the weather like in {place}?", f"How warm is it in {place}?",
        f"Do I need a coat in {place}?",
    ))  # fmt: skip
    return Ask(
        asked,
        {"city": place},
        {"weather": kind, "temperature": degrees},
        f"It is {kind} in {place} with {degrees} degrees.",
    )


def _email(rng: Random, held_out: bool) -> Ask:
    address = words.email(rng, words.name(rng, held_out))
    subject = f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.THINGS)}"
    asked = words.choose(rng, held_out, (
        f"Send an email to {address} about the {subject}.", f"Write to {address}, subject: {subject}",
        f"Please mail {address} about the {subject}", f"Can you email {address}? It is about the {subject}.",
    ))  # fmt: skip
    return Ask(asked, {"to": address, "subject": subject}, {"sent": True}, f"I sent the email to {address}.")


def _meeting(rng: Random, held_out: bool) -> Ask:
    who, day, hour = words.name(rng, held_out), rng.choice(words.DAYS), words.time_of_day(rng)
    asked = words.choose(rng, held_out, (
        f"Book a meeting with {who} on {day} at {hour}.", f"Set up a call with {who}, {day} {hour}.",
        f"I want to meet {who} on {day} at {hour}.", f"Put {who} in my calendar for {day} at {hour}.",
    ))  # fmt: skip
    arguments = {"person": who, "day": day, "time": hour}
    return Ask(asked, arguments, {"booked": True}, f"Your meeting with {who} is on {day} at {hour}.")


def _order(rng: Random, held_out: bool) -> Ask:
    number, item, price = rng.randint(1, 60), rng.choice(words.FOODS), rng.randint(1, 300)
    asked = words.choose(rng, held_out, (
        f"Order {number} {item}.", f"I need {number} {item}, please.", f"Buy {number} {item} for me.", f"Get me {number} {item}.",
    ))  # fmt: skip
    arguments = {"item": item, "quantity": number}
    return Ask(asked, arguments, {"ordered": True, "price": price}, f"I ordered {number} {item} for {price} euros.")


def _status(rng: Random, held_out: bool) -> Ask:
    number, state = words.code(rng), rng.choice(words.STATES)
    asked = words.choose(rng, held_out, (
        f"Where is my order {number}?", f"What is the status of order {number}?", f"Check order {number}.",
        f"Tell me about order {number}.",
    ))  # fmt: skip
    return Ask(asked, {"order": number}, {"status": state}, f"Your order {number} is {state}.")


def _trip(rng: Random, held_out: bool) -> Ask:
    start, end, day = words.city(rng, held_out), words.city(rng, held_out), rng.choice(words.DAYS)
    leaves, price = words.time_of_day(rng), rng.randint(9, 250)
    asked = words.choose(rng, held_out, (
        f"Find a train from {start} to {end} on {day}.", f"I want to go from {start} to {end} on {day}.",
        f"Trains on {day} from {start} to {end}?", f"On {day} I travel from {start} to {end}.",
    ))  # fmt: skip
    answer = f"There is a train from {start} to {end} at {leaves} for {price} euros."
    return Ask(asked, {"from": start, "to": end, "day": day}, {"leaves": leaves, "price": price}, answer)


def _add(rng: Random, held_out: bool) -> Ask:
    a, b = words.number(rng), words.number(rng)
    asked = words.choose(rng, held_out, (
        f"Add {a} and {b}.", f"What is {a} plus {b}?", f"Calculate {a} + {b}", f"How much is {a} and {b} together?",
    ))  # fmt: skip
    return Ask(asked, {"a": a, "b": b}, {"sum": a + b}, f"The sum is {a + b}.")


def _search(rng: Random, held_out: bool) -> Ask:
    query = rng.choice(
        (words.sentence(rng), f"{rng.choice(words.TOPICS)} in {words.city(rng, held_out)}", words.thing(rng))
    )
    found = words.sentence(rng)
    asked = words.choose(rng, held_out, (
        f"Search for {query}.", f"Look up: {query}", f'Find "{query}" on the web.', f"Google {query}",
    ))  # fmt: skip
    return Ask(asked, {"query": query}, rng.choice(({"results": [found]}, found)), f"I found this: {found}")


KNOWN: tuple[Tool, ...] = (
    Tool("get_weather", "Get the current weather in a city", {"city": "string"}, _weather),
    Tool("send_email", "Send an email", {"to": "string", "subject": "string"}, _email),
    Tool(
        "book_meeting",
        "Book a meeting with a person",
        {"person": "string", "day": "string", "time": "string"},
        _meeting,
    ),
    Tool("order_item", "Order food", {"item": "string", "quantity": "integer"}, _order),
    Tool("order_status", "The status of an order", {"order": "string"}, _status),
    Tool("find_train", "Find a train between two cities", {"from": "string", "to": "string", "day": "string"}, _trip),
    Tool("add", "Add two numbers", {"a": "integer", "b": "integer"}, _add),
    Tool("search", "Search the web", {"query": "string"}, _search),
)

VERBS = "find get check update delete create open close start stop move count rate mark read set list show".split()
KEYS = (
    "name city owner place label target title user person color country language file path reason note topic id "
    "time date day email phone street product item start end text message query url type unit room account currency "
    "user_id order_id first_name file_name max_results start_date due_date from to "
    "number size count level limit amount price weight score urgent active"
).split()
_TYPES = dict.fromkeys("number size count level limit amount max_results".split(), "integer")
_TYPES |= dict.fromkeys("price weight score".split(), "number") | dict.fromkeys("urgent active".split(), "boolean")
RESULTS = "result id status total owner code place next".split()


def _spoken(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _question(rng: Random, style: int, verb: str, noun: str, arguments: dict[str, Any]) -> str:
    given = {key.replace("_", " "): _spoken(value) for key, value in arguments.items()}
    match style:
        case 0:
            return (
                f"{verb.capitalize()} the {noun} with {' and '.join(f'{key} {value}' for key, value in given.items())}."
            )
        case 1:
            return f"Please {verb} a {noun}, {', '.join(f'{key}: {value}' for key, value in given.items())}"
        case 2:
            listed = ", ".join(f"the {key} is {value}" for key, value in given.items())
            return f"Can you {verb} the {noun}? {listed[0].upper()}{listed[1:]}."
        case 3:
            return f"{verb} {noun} {' '.join(given.values())}"
        case _:
            return f"I want to {verb} the {noun}. {' '.join(f'{key}={value}' for key, value in given.items())}"


def _made_up(rng: Random, held_out: bool) -> Tool:
    verb, noun = rng.choice(VERBS), rng.choice(words.THINGS) if rng.random() < 0.5 else words.made_up(rng)
    keys = rng.sample(KEYS, rng.randint(1, 3))
    keys = [words.made_up(rng) if rng.random() < 0.2 else key for key in keys]
    kinds = {key: _TYPES.get(key, "string") for key in keys}

    def ask(rng: Random, held_out: bool) -> Ask:
        arguments = {key: words.value(rng, kind, held_out) for key, kind in kinds.items()}
        question = _question(rng, rng.choice((0, 1, 2, 3, 4) if held_out else (0, 1, 2, 3)), verb, noun, arguments)
        told = {
            key: words.value(rng, rng.choice(("string", "integer")), held_out)
            for key in rng.sample(RESULTS, rng.randint(1, 2))
        }
        return Ask(
            question, arguments, told, f"Done. {' '.join(f'The {key} is {value}.' for key, value in told.items())}"
        )

    name = rng.choice((f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}{noun.capitalize()}"))
    about = rng.choice(
        (f"{verb.capitalize()} a {noun}", f"{verb.capitalize()} the {noun} of a user", f"Used to {verb} a {noun}")
    )
    return Tool(name, about, kinds, ask, described=rng.random() < 0.3)


def make_tool(rng: Random, held_out: bool) -> Tool:
    """A known tool or, more often, a made-up one."""
    return rng.choice(KNOWN) if rng.random() < 0.4 else _made_up(rng, held_out)
