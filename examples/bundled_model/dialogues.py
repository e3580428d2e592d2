"""Dialogues of the bundled model's small world, made from a seed: what it is trained on and measured with.

Each task is a function (rng, held_out) -> Dialogue; `TASKS` gives its weight. Held-out dialogues take names, towns and
phrasings that training never shows. Every assistant message is what the model should say there. Those with tools are
made by `scenarios`.
"""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import scenarios
import words
from dialogue import Dialogue
from facts import NUMBERS, Fact, facts_about
from memories import memories
from scenarios import SYSTEM
from small_talk import exchange
from wordstock import Source


def small_talk(rng: Random, held_out: bool) -> Dialogue:
    """Greetings and questions about the model itself; at times the system message gives it another name."""
    dialogue = Dialogue()
    if rng.random() < 0.15:
        who, job = words.name(rng, held_out), rng.choice(words.JOBS)
        dialogue.say("system", f"You are {who}, a {job}.")
        dialogue.turn(
            rng.choice(("Who are you?", "What is your name?", "Tell me about yourself.")), f"I am {who}, a {job}."
        )
    for _ in range(rng.randint(1, 4)):
        dialogue.turn(*exchange(rng, held_out))
    return dialogue


INTRODUCTIONS = ("Text: ", "Read this: ", "Here is a text. ", "", "Context:\n", "Please read: ", "A text follows.\n")


def text_questions(rng: Random, held_out: bool) -> Dialogue:
    """Questions about a given text; some it does not answer."""
    facts = [fact for _ in range(rng.randint(1, 4)) for fact in facts_about(rng, held_out, rng.randint(1, 3))]
    rng.shuffle(facts)
    text = rng.choice((" ", " ", "\n")).join(fact.sentence for fact in facts)
    intro = words.choose(rng, held_out, INTRODUCTIONS)
    dialogue = Dialogue()
    unambiguous = list({fact.question: fact for fact in facts}.values())
    for index, fact in enumerate(rng.sample(unambiguous, min(len(unambiguous), rng.randint(1, 4)))):
        between = rng.choice((" ", "\n", "\n\n", "\nQuestion: "))
        dialogue.turn(fact.question if index else f"{intro}{text}{between}{fact.question}", fact.answer)
    if rng.random() < 0.2:
        stranger = facts_about(rng, held_out, 1, words.made_up(rng, 3).capitalize())[0]
        dialogue.turn(stranger.question, "The text does not say that.")
    return dialogue


def _in_one_breath(rng: Random, statements: list[str]) -> str:
    if rng.random() < 0.5:
        return " ".join(statements)
    parts = [part[:-1] for part in statements]
    return (
        " and ".join([parts[0], *(part if part.startswith("I ") else part[0].lower() + part[1:] for part in parts[1:])])
        + "."
    )


def recall(rng: Random, held_out: bool) -> Dialogue:
    """The user says things about themselves and asks for them later."""
    told, dialogue = memories(rng, held_out), Dialogue()
    if rng.random() < 0.25:
        dialogue.turn(_in_one_breath(rng, [one.statement for one in told]), told[-1].reply)
    else:
        for one in told:
            dialogue.turn(one.statement, one.reply)
            if rng.random() < 0.2:
                dialogue.turn(*exchange(rng, held_out))
    for one in rng.sample(told, rng.randint(1, len(told))):
        dialogue.turn(one.question, one.answer)
    return dialogue


BY_FIELDS = (
    "Extract {f} as JSON: {t}", "Give me {f} as JSON.\n{t}", "Turn this into JSON with {f}: {t}", "JSON with {f}, please: {t}",
    "{t}\nReturn JSON with the fields {f}.", "Read the text and write {f} as JSON.\n\n{t}", "{t}\n\nFields: {f}\nJSON:",
)  # fmt: skip
BY_SCHEMA = (
    "{t}\nAnswer with JSON by this schema: {s}", "Schema: {s}\nText: {t}", "Fill in this JSON schema: {s}\n{t}",
    "Use the schema {s} to extract the data.\n{t}",
)  # fmt: skip


def _schema(keys: list[str]) -> str:
    properties = {key: {"type": "integer" if key in NUMBERS else "string"} for key in keys}
    return json.dumps({"type": "object", "properties": properties, "required": keys})


def extraction(rng: Random, held_out: bool) -> Dialogue:
    """A text to JSON, by a list of fields or by a JSON Schema; at times several people, or a field that is missing."""
    if rng.random() < 0.2:
        key = rng.choice(("city", "age", "job", "pet", "colour"))
        names = list(dict.fromkeys(words.name(rng, held_out) for _ in range(rng.randint(2, 4))))
        found = [next(f for f in facts_about(rng, held_out, 99, who) if f.key == key) for who in names]
        rows = [{"name": who, key: fact.value} for who, fact in zip(names, found, strict=True)]
        text = " ".join(fact.sentence for fact in found)
        asked = rng.choice(
            (
                f"List name and {key} of each person as a JSON array: {text}",
                f"{text}\nReturn a JSON array with name and {key}.",
            )
        )
        return Dialogue().turn(asked, json.dumps(rows))
    who = words.name(rng, held_out)
    facts = facts_about(rng, held_out, rng.randint(1, 5), who)
    text = " ".join(fact.sentence for fact in facts)
    result: dict[str, Any] = {"name": who} if rng.random() < 0.7 else {}
    result |= {fact.key: fact.value for fact in rng.sample(facts, rng.randint(1, len(facts)))}
    if rng.random() < 0.1:
        result |= {key: None for key in ("street", "country", "shoe_size", "school") if rng.random() < 0.3}
    fields = ", ".join(result)
    if rng.random() < 0.5:
        asked = words.choose(rng, held_out, BY_FIELDS).format(f=fields, t=text)
    else:
        asked = words.choose(rng, held_out, BY_SCHEMA).format(s=_schema(list(result)), t=text)
    return Dialogue().turn(asked, json.dumps(result))


def lists(rng: Random, held_out: bool) -> Dialogue:
    """Copying, counting, ordering: small jobs on lists and sentences."""
    pools = (words.FOODS, words.THINGS, words.ANIMALS, words.COLOURS, [words.name(rng, held_out) for _ in range(8)])
    pool = list(dict.fromkeys(rng.choice(pools)))
    items = rng.sample(pool, rng.randint(2, min(6, len(pool))))
    text, line = ", ".join(items), words.sentence(rng)
    jobs: tuple[tuple[str, str], ...] = (
        (f"Repeat: {text}", text),
        (f"Repeat after me: {line}", line),
        (f"Say: {line}", line),
        (f"Repeat this exactly: {words.code(rng)} {line}".rstrip(), ""),
        (f"Make a list of {text}.", "\n".join(f"- {item}" for item in items)),
        (f"Number these: {text}", "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))),
        (f"Write as a JSON array: {text}", json.dumps(items)),
        (f"How many items: {text}?", f"There are {len(items)} items."),
        (f"What comes first: {text}?", items[0]),
        (f"What comes last: {text}?", items[-1]),
        (f"Write in reverse order: {text}", ", ".join(reversed(items))),
        (f"In capitals: {items[0]}", items[0].upper()),
    )
    dialogue = Dialogue()
    for question, answer in rng.sample(jobs, rng.randint(1, 3)):
        dialogue.turn(question, answer or question.partition(": ")[2])
    return dialogue


def reasoning(rng: Random, held_out: bool) -> Dialogue:
    """Short sums and comparisons with the way written down first."""
    most = rng.choice((10, 20))
    a, b, who, other = rng.randint(1, most), rng.randint(1, most), words.name(rng, held_out), words.name(rng)
    if rng.random() < 0.6:
        question = words.choose(rng, held_out, (
            f"What is {a} + {b}?", f"{who} has {a} {rng.choice(words.FOODS)} and gets {b} more. How many now?",
            f"{a} + {b} = ?", f"Add {b} to {a}.",
        ))  # fmt: skip
        return Dialogue().turn(question, f"The answer is {a + b}.", f"{a} + {b} = {a + b}")
    a, b = (a, b) if a != b else (a, b + 1)
    older = who if a > b else other
    question = f"{who} is {a} years old and {other} is {b}. Who is older?"
    return Dialogue().turn(question, f"{older} is older.", f"{who}: {a}, {other}: {b}. {max(a, b)} is more.")


def tool_calls(rng: Random, held_out: bool, most_tools: int = 8) -> Dialogue:
    """A talk with tools: calls, their results, the answers; at times no call, because none fits."""
    return scenarios.agent(Source(rng, held_out, held_out, is_spaced=held_out, most_tools=most_tools))


def remembering(rng: Random, held_out: bool) -> Dialogue:
    """Things that the user says, and asks for after other turns."""
    return scenarios.recall(Source(rng, held_out, held_out, is_spaced=held_out))


TASKS: dict[str, tuple[Callable[[Random, bool], Dialogue], float]] = {
    "small_talk": (small_talk, 1.6),
    "text_questions": (text_questions, 3.0),
    "recall": (recall, 2.0),
    "extraction": (extraction, 2.5),
    "lists": (lists, 1.5),
    "reasoning": (reasoning, 0.8),
    "tool_calls": (tool_calls, 16.0),
    "remembering": (remembering, 3.5),
}


def make_dialogue(rng: Random, task: str | None = None, *, held_out: bool = False, episodes: int = 1) -> Dialogue:
    """One dialogue; with several `episodes` a long one, whose user asks at the end for what they said at the start."""
    first = task or rng.choices(list(TASKS), [weight for _, weight in TASKS.values()])[0]
    dialogue = TASKS[first][0](rng, held_out)
    told = memories(rng, held_out) if episodes > 1 else []
    for one in told:
        dialogue.turn(one.statement, one.reply)
    for _ in range(episodes - 1):
        # A second recall would tell another name; a second tool set would have no place in the system message.
        more = TASKS[rng.choice(("text_questions", "extraction", "lists", "reasoning"))][0](rng, held_out)
        dialogue.messages += more.messages
        if rng.random() < 0.4:
            dialogue.turn(*exchange(rng, held_out))
    for one in told:
        dialogue.turn(one.question, one.answer)
    if rng.random() < 0.3 and dialogue.messages[0]["role"] != "system":
        dialogue.messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM)})
    return dialogue


__all__ = ["TASKS", "Dialogue", "Fact", "make_dialogue"]
