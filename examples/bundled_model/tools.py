"""Tools for the training dialogues: known ones and made-up ones, with questions, arguments, results and answers."""

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

    def schema(self) -> dict[str, Any]:
        """The tool as the chat API sends it."""
        properties = {key: {"type": kind} for key, kind in self.parameters.items()}
        parameters = {"type": "object", "properties": properties, "required": list(self.parameters)}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def _weather(rng: Random, held_out: bool) -> Ask:
    place, kind, degrees = words.city(rng, held_out), rng.choice(words.WEATHER), rng.randint(-15, 39)
    question = rng.choice(
        (
            f"What is the weather in {place}?",
            f"How is the weather in {place} today?",
            f"Weather in {place}, please.",
            f"Is it nice in {place}?",
        )
    )
    return Ask(
        question,
        {"city": place},
        {"weather": kind, "temperature": degrees},
        f"It is {kind} in {place} with {degrees} degrees.",
    )


def _email(rng: Random, held_out: bool) -> Ask:
    who = words.name(rng, held_out)
    address, subject = words.email(rng, who), f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.THINGS)}"
    question = rng.choice(
        (
            f"Send an email to {address} about the {subject}.",
            f"Write to {address}, subject: {subject}",
            f"Please mail {address} about the {subject}",
        )
    )
    return Ask(question, {"to": address, "subject": subject}, {"sent": True}, f"I sent the email to {address}.")


def _meeting(rng: Random, held_out: bool) -> Ask:
    who, day, hour = words.name(rng, held_out), rng.choice(words.DAYS), words.time_of_day(rng)
    question = rng.choice(
        (
            f"Book a meeting with {who} on {day} at {hour}.",
            f"Set up a call with {who}, {day} {hour}.",
            f"I want to meet {who} on {day} at {hour}.",
        )
    )
    return Ask(
        question,
        {"person": who, "day": day, "time": hour},
        {"booked": True},
        f"Your meeting with {who} is on {day} at {hour}.",
    )


def _order(rng: Random, held_out: bool) -> Ask:
    number, item = rng.randint(1, 60), rng.choice(words.FOODS)
    question = rng.choice(
        (f"Order {number} {item}.", f"I need {number} {item}, please.", f"Buy {number} {item} for me.")
    )
    price = rng.randint(1, 300)
    return Ask(
        question,
        {"item": item, "quantity": number},
        {"ordered": True, "price": price},
        f"I ordered {number} {item} for {price} euros.",
    )


def _status(rng: Random, held_out: bool) -> Ask:
    number, state = words.code(rng), rng.choice(("shipped", "delivered", "lost", "packed", "delayed", "cancelled"))
    question = rng.choice(
        (f"Where is my order {number}?", f"What is the status of order {number}?", f"Check order {number}.")
    )
    return Ask(question, {"order": number}, {"status": state}, f"Your order {number} is {state}.")


def _trip(rng: Random, held_out: bool) -> Ask:
    start, end, day = words.city(rng, held_out), words.city(rng, held_out), rng.choice(words.DAYS)
    question = rng.choice(
        (
            f"Find a train from {start} to {end} on {day}.",
            f"I want to go from {start} to {end} on {day}.",
            f"Trains on {day} from {start} to {end}?",
        )
    )
    leaves, price = words.time_of_day(rng), rng.randint(9, 250)
    return Ask(
        question,
        {"from": start, "to": end, "day": day},
        {"leaves": leaves, "price": price},
        f"There is a train from {start} to {end} at {leaves} for {price} euros.",
    )


def _add(rng: Random, held_out: bool) -> Ask:
    a, b = words.number(rng), words.number(rng)
    question = rng.choice((f"Add {a} and {b}.", f"What is {a} plus {b}?", f"Calculate {a} + {b}"))
    return Ask(question, {"a": a, "b": b}, {"sum": a + b}, f"The sum is {a + b}.")


KNOWN: tuple[Tool, ...] = (
    Tool("get_weather", "The weather of a city", {"city": "string"}, _weather),
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
)

VERBS = "find get check update delete create open close start stop move count rate mark".split()


def _value(rng: Random, kind: str, held_out: bool) -> Any:
    if kind == "integer":
        return words.number(rng)
    return (
        rng.choice((words.name, words.city))(rng, held_out)
        if rng.random() < 0.6
        else rng.choice((words.code(rng), words.thing(rng)))
    )


def _made_up(rng: Random) -> Tool:
    verb, noun = rng.choice(VERBS), rng.choice(words.THINGS) if rng.random() < 0.6 else words.made_up(rng)
    keys = rng.sample(
        ("name", "city", "number", "code", "owner", "place", "size", "label", "target", words.made_up(rng)),
        rng.randint(1, 3),
    )
    kinds = {key: "integer" if key in ("number", "size") else "string" for key in keys}
    style = rng.randrange(3)

    def ask(rng: Random, held_out: bool) -> Ask:
        arguments = {key: _value(rng, kind, held_out) for key, kind in kinds.items()}
        if style == 0:
            given = " and ".join(f"{key} {value}" for key, value in arguments.items())
            question = f"{verb.capitalize()} the {noun} with {given}."
        elif style == 1:
            given = ", ".join(f"{key}: {value}" for key, value in arguments.items())
            question = f"Please {verb} a {noun}, {given}"
        else:
            given = ", ".join(f"the {key} is {value}" for key, value in arguments.items())
            question = f"Can you {verb} the {noun}? {given[0].upper()}{given[1:]}."
        outcome = words.code(rng)
        return Ask(question, arguments, {"result": outcome}, f"Done. The result is {outcome}.")

    return Tool(f"{verb}_{noun}", f"{verb.capitalize()} a {noun}", kinds, ask)


def make_tool(rng: Random) -> Tool:
    """A known tool or, as often, a made-up one."""
    return rng.choice(KNOWN) if rng.random() < 0.5 else _made_up(rng)
