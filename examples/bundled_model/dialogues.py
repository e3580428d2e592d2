"""Dialogues of the bundled model's small world, made from a seed: what it is trained on and measured with.

Each task is a function (rng, held_out) -> Dialogue; `TASKS` gives its weight. `held_out` takes names and towns that
training never shows. The last assistant message of a dialogue is the one that `evaluate.py` asks the model for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import words
from tools import Tool, make_tool

Message = dict[str, Any]


@dataclass(slots=True)
class Dialogue:
    """Messages in the order of the chat API, and the tools that the system message lists."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Message] = field(default_factory=list)

    def say(self, role: str, content: str, **more: Any) -> Dialogue:
        """Add a message."""
        self.messages.append({"role": role, "content": content, **more})
        return self

    def turn(self, question: str, answer: str, reasoning: str | None = None) -> Dialogue:
        """Add a question and its answer."""
        self.say("user", question)
        return self.say("assistant", answer, **({"reasoning_content": reasoning} if reasoning else {}))


SYSTEM = (
    "You are a helpful assistant.",
    "You are Espalier, a small and friendly model.",
    "Answer briefly.",
    "You help people with short questions.",
    "You are a careful assistant. Use only what is given.",
    "Be kind and precise.",
)

SMALL_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("Hi!", "Hello!", "Hey", "Hi there", "Good morning!", "Good evening", "hello", "hi"),
        ("Hello! How can I help you?", "Hi! What can I do for you?"),
    ),
    (
        ("Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Are you a robot?"),
        (
            "I am Espalier, a small language model that was trained on two processor cores.",
            "I am Espalier, a very small language model. I know little, but I copy with care.",
        ),
    ),
    (
        ("What can you do?", "How can you help me?", "What are you good at?", "help"),
        (
            "I can answer questions about a text, call tools, remember what you told me and turn text into JSON.",
            "Give me a text and a question, some tools, or something to remember. I can also write JSON.",
        ),
    ),
    (
        ("How are you?", "How is it going?", "How do you feel today?", "how are you doing"),
        ("I am well, thank you. How are you?", "Very well, thanks! What can I do for you?"),
    ),
    (
        ("Thank you!", "Thanks", "Thanks a lot", "That was helpful.", "Great, thanks!", "thank you very much"),
        ("You are welcome!", "My pleasure. Is there anything else?"),
    ),
    (
        ("Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Say something funny", "Another joke, please."),
        (
            "Why did the gardener plant a lamp? He wanted a light lunch.",
            "What did the tree say to the wall? Lean on me, I will grow on you.",
            "Why was the clock sent to bed? It had too much time on its hands.",
        ),
    ),
    (
        ("What is an espalier?", "What does espalier mean?", "Why are you called Espalier?"),
        (
            "An espalier is a tree trained to grow along a frame.",
            "It is a tree that grows along a frame, as my answers grow along a grammar.",
        ),
    ),
    (
        ("Bye!", "Goodbye", "See you later.", "Good night!", "bye bye", "I have to go now."),
        ("Goodbye! Come back any time.", "See you soon!"),
    ),
    (
        ("What is the capital of France?", "Which city is the capital of France?"),
        ("Paris is the capital of France.",),
    ),
    (
        ("How many days are in a week?", "How many days does a week have?"),
        ("A week has seven days.",),
    ),
    (
        ("Can you speak German?", "Do you know French?", "Do you speak Spanish?"),
        ("No, I only know English, and only a little of it.",),
    ),
    (
        (
            "What is the meaning of life?",
            "Who won the last election?",
            "Explain quantum physics.",
            "Write me a poem.",
            "What is the weather like?",
            "What time is it?",
            "Solve this equation.",
            "What happened yesterday?",
        ),
        ("I am sorry, I am too small to know that. Give me a text or a tool and I will try.",),
    ),
    (
        ("I am sad.", "I feel bad today.", "I had a hard day.", "I am tired."),
        ("I am sorry to hear that. Do you want to tell me more?",),
    ),
    (
        ("I am happy!", "I had a great day.", "Everything went well today."),
        ("I am glad to hear that!", "How nice! What made it so good?"),
    ),
    (
        ("ok", "Okay.", "I see.", "Good.", "Fine", "Yes", "Sure"),
        ("Good. What would you like to do next?", "All right. Ask me anything."),
    ),
)


def small_talk(rng: Random, held_out: bool) -> Dialogue:
    """Greetings and questions about the model itself."""
    dialogue = Dialogue()
    for questions, answers in rng.sample(SMALL_TALK, rng.randint(1, 4)):
        dialogue.turn(rng.choice(questions), rng.choice(answers))
    return dialogue


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence about someone, and a question it answers."""

    key: str
    value: Any
    sentence: str
    question: str
    answer: str


def _fact(rng: Random, who: str, key: str) -> Fact:
    value: Any
    match key:
        case "city":
            value = words.city(rng)
            return Fact(
                key,
                value,
                rng.choice((f"{who} lives in {value}.", f"{who} has a flat in {value}.")),
                rng.choice((f"Where does {who} live?", f"In which city does {who} live?")),
                f"{who} lives in {value}.",
            )
        case "job":
            value = rng.choice(words.JOBS)
            return Fact(
                key,
                value,
                rng.choice((f"{who} works as a {value}.", f"{who} is a {value}.")),
                rng.choice((f"What is {who}'s job?", f"What does {who} do?")),
                f"{who} is a {value}.",
            )
        case "age":
            value = rng.randint(5, 99)
            return Fact(
                key,
                value,
                rng.choice((f"{who} is {value} years old.", f"{who} turned {value} this year.")),
                rng.choice((f"How old is {who}?", f"What is {who}'s age?")),
                f"{who} is {value} years old.",
            )
        case "pet":
            value = rng.choice(words.ANIMALS)
            return Fact(
                key,
                value,
                rng.choice((f"{who} has a {value}.", f"{who} keeps a {value} at home.")),
                rng.choice((f"What animal does {who} have?", f"Which pet does {who} keep?")),
                f"{who} has a {value}.",
            )
        case "colour":
            value = rng.choice(words.COLOURS)
            return Fact(
                key,
                value,
                rng.choice((f"{who}'s favourite colour is {value}.", f"{who} likes {value} best.")),
                f"What is {who}'s favourite colour?",
                f"{who}'s favourite colour is {value}.",
            )
        case "hobby":
            value = rng.choice(words.HOBBIES)
            return Fact(
                key,
                value,
                rng.choice(
                    (
                        f"{who} loves {value}.",
                        f"{who} spends the weekend {value}." if value != "chess" else f"{who} loves chess.",
                    )
                ),
                f"What does {who} love?",
                f"{who} loves {value}.",
            )
        case "email":
            value = words.email(rng, who)
            return Fact(
                key, value, f"{who}'s email is {value}.", f"What is {who}'s email?", f"{who}'s email is {value}."
            )
        case "birthday":
            value = words.date(rng)
            return Fact(
                key, value, f"{who} was born on {value}.", f"When was {who} born?", f"{who} was born on {value}."
            )
        case _:
            value = words.thing(rng)
            return Fact(
                key,
                value,
                rng.choice((f"{who} bought a {value}.", f"{who} owns a {value}.")),
                rng.choice((f"What did {who} buy?", f"What does {who} own?")),
                f"{who} has a {value}.",
            )


KEYS = ("city", "job", "age", "pet", "colour", "hobby", "email", "birthday", "thing")


def _facts(rng: Random, held_out: bool, people: int, each: int) -> list[Fact]:
    names: list[str] = []
    while len(names) < people:
        who = words.name(rng, held_out)
        if who not in names:
            names.append(who)
    facts = [_fact(rng, who, key) for who in names for key in rng.sample(KEYS, each)]
    rng.shuffle(facts)
    return facts


def text_questions(rng: Random, held_out: bool) -> Dialogue:
    """Questions about a given text; some it does not answer."""
    people = rng.randint(1, 4)
    facts = _facts(rng, held_out, people, rng.randint(1, 3))
    text = " ".join(fact.sentence for fact in facts)
    intro = rng.choice(("Text: ", "Read this: ", "Here is a text. ", "", "Context:\n", "Please read: "))
    dialogue = Dialogue()
    asked = rng.sample(facts, min(len(facts), rng.randint(1, 4)))
    for index, fact in enumerate(asked):
        ask = fact.question if index else f"{intro}{text}{rng.choice((' ', chr(10), chr(10) * 2))}{fact.question}"
        dialogue.turn(ask, fact.answer)
    if rng.random() < 0.15:
        dialogue.turn(
            _fact(rng, words.made_up(rng).capitalize(), rng.choice(KEYS)).question, "The text does not say that."
        )
    return dialogue


def recall(rng: Random, held_out: bool) -> Dialogue:
    """The user says things about themselves and asks for them later."""
    pool: list[tuple[str, str, str, str]] = []
    who, town, pet = words.name(rng, held_out), words.city(rng, held_out), rng.choice(words.ANIMALS)
    lucky, secret, item = words.number(rng), words.code(rng), words.thing(rng)
    colour, friend = rng.choice(words.COLOURS), words.name(rng, held_out)
    pool.append(
        (
            rng.choice((f"My name is {who}.", f"I am {who}.", f"Call me {who}.", f"Hi, I'm {who}!")),
            f"Nice to meet you, {who}!",
            rng.choice(("What is my name?", "Who am I?", "Do you remember my name?")),
            f"Your name is {who}.",
        )
    )
    pool.append(
        (
            rng.choice((f"I live in {town}.", f"My home is {town}.")),
            f"{town} sounds nice.",
            rng.choice(("Where do I live?", "Which city do I live in?")),
            f"You live in {town}.",
        )
    )
    pool.append(
        (
            rng.choice((f"My lucky number is {lucky}.", f"Remember the number {lucky}.")),
            f"I will remember {lucky}.",
            rng.choice(("What was the number?", "Which number did I tell you?")),
            f"The number was {lucky}.",
        )
    )
    pool.append(
        (
            rng.choice((f"The code is {secret}.", f"Please remember the code {secret}.")),
            "Noted.",
            rng.choice(("What is the code?", "What was the code again?")),
            f"The code is {secret}.",
        )
    )
    pool.append(
        (
            f"I have a {pet} called {friend}.",
            f"{friend} is a nice name for a {pet}.",
            rng.choice((f"What is my {pet} called?", f"What is the name of my {pet}?")),
            f"Your {pet} is called {friend}.",
        )
    )
    pool.append(
        (
            rng.choice((f"I bought a {item}.", f"Today I found a {item}.")),
            "How nice!",
            rng.choice(("What did I get?", "What was it that I got today?")),
            f"You got a {item}.",
        )
    )
    pool.append(
        (
            f"My favourite colour is {colour}.",
            f"I like {colour} too.",
            "What is my favourite colour?",
            f"Your favourite colour is {colour}.",
        )
    )
    told = rng.sample(pool, rng.randint(1, 4))
    dialogue = Dialogue()
    for statement, reply, _, _ in told:
        dialogue.turn(statement, reply)
        if rng.random() < 0.2:
            questions, answers = rng.choice(SMALL_TALK)
            dialogue.turn(rng.choice(questions), rng.choice(answers))
    for _, _, question, answer in rng.sample(told, rng.randint(1, len(told))):
        dialogue.turn(question, answer)
    return dialogue


def extraction(rng: Random, held_out: bool) -> Dialogue:
    """A text to JSON, by a list of fields or by a JSON Schema."""
    who = words.name(rng, held_out)
    facts = [_fact(rng, who, key) for key in rng.sample(KEYS, rng.randint(1, 4))]
    text = " ".join(fact.sentence for fact in facts)
    asked = rng.sample(facts, rng.randint(1, len(facts)))
    result = {"name": who} if rng.random() < 0.7 else {}
    result |= {fact.key: fact.value for fact in asked}
    if rng.random() < 0.5:
        ask = rng.choice(
            (
                "Extract {f} as JSON: {t}",
                "Give me {f} as JSON.\n{t}",
                "Turn this into JSON with {f}: {t}",
                "{t}\nReturn JSON with the fields {f}.",
            )
        ).format(f=", ".join(result), t=text)
    else:
        kinds = {"age": "integer"}
        properties = {key: {"type": kinds.get(key, "string")} for key in result}
        schema = json.dumps({"type": "object", "properties": properties, "required": list(result)})
        ask = rng.choice(("{t}\nAnswer with JSON by this schema: {s}", "Schema: {s}\nText: {t}")).format(
            s=schema, t=text
        )
    return Dialogue().turn(ask, json.dumps(result))


def lists(rng: Random, held_out: bool) -> Dialogue:
    """Copying, counting, ordering: small jobs on lists."""
    pool = rng.choice(
        (words.FOODS, words.THINGS, words.ANIMALS, words.COLOURS, [words.name(rng, held_out) for _ in range(8)])
    )
    items = rng.sample(list(dict.fromkeys(pool)), rng.randint(2, min(5, len(set(pool)))))
    text = ", ".join(items)
    jobs: tuple[tuple[str, str], ...] = (
        (f"Repeat: {text}", text),
        (f"Repeat after me: {text}", text),
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
        dialogue.turn(question, answer)
    return dialogue


def reasoning(rng: Random, held_out: bool) -> Dialogue:
    """Short sums and comparisons with the way written down first."""
    a, b, who, other = rng.randint(1, 20), rng.randint(1, 20), words.name(rng, held_out), words.name(rng)
    if rng.random() < 0.5:
        question = rng.choice(
            (f"What is {a} + {b}?", f"{who} has {a} {rng.choice(words.FOODS)} and gets {b} more. How many now?")
        )
        return Dialogue().turn(question, f"The answer is {a + b}.", f"{a} + {b} = {a + b}")
    a, b = (a, b) if a != b else (a, b + 1)
    older = who if a > b else other
    question = f"{who} is {a} years old and {other} is {b}. Who is older?"
    return Dialogue().turn(question, f"{older} is older.", f"{who}: {a}, {other}: {b}. {max(a, b)} is more.")


def _call(tool: Tool, arguments: dict[str, Any], index: int) -> Message:
    return {"id": f"call_{index}", "type": "function", "function": {"name": tool.name, "arguments": arguments}}


def tool_calls(rng: Random, held_out: bool) -> Dialogue:
    """A question that a tool answers: the call, its result, the answer from the result; sometimes two calls."""
    offered: list[Tool] = []
    while len(offered) < rng.randint(1, 4):
        tool = make_tool(rng)
        if all(tool.name != known.name for known in offered):
            offered.append(tool)
    dialogue = Dialogue(tools=[tool.schema() for tool in offered])
    if rng.random() < 0.12:
        questions, answers = rng.choice(SMALL_TALK[:9])
        dialogue.turn(rng.choice(questions), rng.choice(answers))
    for _ in range(1 if rng.random() < 0.75 else 2):
        chosen = rng.choice(offered)
        asked = [chosen.ask(rng, held_out)]
        if rng.random() < 0.15:
            asked.append(chosen.ask(rng, held_out))
        question = (
            asked[0].question
            if len(asked) == 1
            else f"{asked[0].question} {rng.choice(('And then: ', 'Also: ', ''))}{asked[1].question}"
        )
        dialogue.say("user", question)
        calls = [_call(chosen, ask.arguments, index) for index, ask in enumerate(asked)]
        dialogue.say("assistant", "", tool_calls=calls)
        for ask, call in zip(asked, calls, strict=True):
            dialogue.say("tool", json.dumps(ask.result), tool_call_id=call["id"])
        dialogue.say("assistant", " ".join(ask.answer for ask in asked))
    return dialogue


TASKS: dict[str, tuple[Callable[[Random, bool], Dialogue], float]] = {
    "small_talk": (small_talk, 1.0),
    "text_questions": (text_questions, 2.5),
    "recall": (recall, 2.0),
    "extraction": (extraction, 2.0),
    "lists": (lists, 1.2),
    "reasoning": (reasoning, 0.5),
    "tool_calls": (tool_calls, 3.0),
}


def make_dialogue(rng: Random, task: str | None = None, *, held_out: bool = False, episodes: int = 1) -> Dialogue:
    """One dialogue; with several `episodes` a long one about several things, without tools after the first."""
    names = list(TASKS)
    first = task or rng.choices(names, [weight for _, weight in TASKS.values()])[0]
    dialogue = TASKS[first][0](rng, held_out)
    for _ in range(episodes - 1):
        more = TASKS[rng.choice([name for name in names if name != "tool_calls"])][0](rng, held_out)
        dialogue.messages += more.messages
    if rng.random() < 0.3:
        dialogue.messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM)})
    return dialogue
