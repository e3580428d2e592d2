"""Things that users tell about themselves in words of their own, and how they ask for them later."""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import words
from further_memories import FURTHER

REWORDED = 0.6
"""Share of training's statements, and of its questions, that are taken from the further ones."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the user says, the reply; the later question, its answer, and the value in it."""

    statement: str
    reply: str
    question: str
    answer: str
    value: str


def memories(rng: Random, held_out: bool, most: int = 4) -> list[Memory]:
    """One to `most` things, in any order."""
    who, town, pet = words.name(rng, held_out), words.city(rng, held_out), rng.choice(words.ANIMALS)
    lucky, secret, item = words.number(rng), words.code(rng), words.thing(rng)
    colour, friend, job = rng.choice(words.COLOURS), words.name(rng, held_out), rng.choice(words.JOBS)
    age, food, day = rng.randint(5, 99), rng.choice(words.FOODS), rng.choice(words.DAYS)
    born, boss, hour = words.city(rng, held_out), words.name(rng, held_out), words.time_of_day(rng)
    place, gate, money, kin = rng.choice(words.PLACES), words.code(rng), words.number(rng), words.name(rng, held_out)
    relative = rng.choice(
        "sister brother mother father wife husband son daughter friend neighbour cousin aunt uncle".split()
    )

    def one(*options: str) -> str:
        return words.choose(rng, held_out, options)

    pool = [
        (one(f"My name is {who}.", f"I am {who}.", f"Call me {who}.", f"Hi, I'm {who}!", f"Hello, my name is {who}.", f"People call me {who}.", f"{who} here."),
         f"Nice to meet you, {who}!", one("What is my name?", "Who am I?", "Do you remember my name?", "What's my name?", "Can you tell me my name?", "How am I called?", "Say my name."),
         f"Your name is {who}.", who),
        (one(f"I live in {town}.", f"My home is {town}.", f"I come from {town}.", f"My flat is in {town}.", f"I moved to {town}."), f"{town} sounds nice.",
         one("Where do I live?", "Which city do I live in?", "What is my city?", "In what town do I live?", "Where is my home?"), f"You live in {town}.", town),
        (one(f"My lucky number is {lucky}.", f"Remember the number {lucky}.", f"The number is {lucky}.", f"Keep {lucky} in mind."),
         f"I will remember {lucky}.", one("What was the number?", "Which number did I tell you?", "What is my number?", "What number did I say?", "Tell me the number."),
         f"The number was {lucky}.", str(lucky)),
        (one(f"The code is {secret}.", f"Please remember the code {secret}.", f"My code is {secret}.", f"Note this code: {secret}"), "Noted.",
         one("What is the code?", "What was the code again?", "Tell me the code.", "Can you repeat the code?", "Which code was it?"), f"The code is {secret}.", secret),
        (one(f"I have a {pet} called {friend}.", f"My {pet} is called {friend}.", f"My {pet}'s name is {friend}.", f"{friend} is my {pet}."), f"{friend} is a nice name for a {pet}.",
         one(f"What is my {pet} called?", f"What is the name of my {pet}?", f"What's my {pet}'s name?", f"How is my {pet} called?"), f"Your {pet} is called {friend}.", friend),
        (one(f"I bought a {item}.", f"Today I found a {item}.", f"I got a {item} for my birthday.", f"Somebody gave me a {item}."), "How nice!",
         one("What did I get?", "What was it that I got today?", "What did I tell you I got?", "Which thing did I get?"), f"You got a {item}.", item),
        (one(f"My favourite colour is {colour}.", f"I like {colour} best.", f"{colour.capitalize()} is the colour I like most."), f"I like {colour} too.",
         one("What is my favourite colour?", "Which colour do I like?", "What colour do I like most?"), f"Your favourite colour is {colour}.", colour),
        (one(f"I work as a {job}.", f"I am a {job}.", f"My job is {job}.", f"I earn my money as a {job}."), f"A {job}! That must be interesting.",
         one("What is my job?", "What do I do?", "What do I work as?", "How do I earn my money?"), f"You are a {job}.", job),
        (one(f"I am {age} years old.", f"I turned {age} today.", f"My age is {age}.", f"I'm {age}."), f"{age} is a good age.",
         one("How old am I?", "What is my age?", "Do you remember how old I am?", "Tell me my age."), f"You are {age} years old.", str(age)),
        (one(f"I love {food}.", f"My favourite food is {food}.", f"I like {food} most of all.", f"I could eat {food} every day."), f"{food.capitalize()}! Good choice.",
         one("What do I like to eat?", "What is my favourite food?", "Which food do I like?", "What could I eat every day?"), f"You like {food}.", food),
        (one(f"My holiday starts on {day}.", f"I leave on {day}.", f"I will travel on {day}.", f"We set off on {day}."), f"{day} will come soon.",
         one("When do I leave?", "When does my holiday start?", "On which day do I travel?", "Which day do I set off?"), f"You leave on {day}.", day),
        (one(f"I was born in {born}.", f"{born} is where I was born.", f"My place of birth is {born}.", f"I grew up in {born}."), f"{born} must be a nice place.",
         one("Where was I born?", "In which place was I born?", "What is my place of birth?", "Where did I grow up?"), f"You were born in {born}.", born),
        (one(f"My {relative} is called {kin}.", f"{kin} is my {relative}.", f"My {relative}'s name is {kin}.", f"I have a {relative} named {kin}."), "Good to know.",
         one(f"What is my {relative} called?", f"Who is my {relative}?", f"What's the name of my {relative}?", f"How is my {relative} named?"), f"Your {relative} is called {kin}.", kin),
        (one(f"My boss is {boss}.", f"I work for {boss}.", f"{boss} is my boss.", f"My boss is called {boss}."), "Good to know.",
         one("Who is my boss?", "Who do I work for?", "What is my boss called?", "Whom do I work for?"), f"Your boss is {boss}.", boss),
        (one(f"My train leaves at {hour}.", f"I have to leave at {hour}.", f"I must go at {hour}.", f"My bus goes at {hour}."), "I will remember that.",
         one("When do I have to leave?", "What time must I go?", "At what time do I leave?", "When do I go?"), f"You have to leave at {hour}.", hour),
        (one(f"I left my keys in the {place}.", f"My keys are in the {place}.", f"The keys lie in the {place}.", f"I put the keys into the {place}."), "Good to know.",
         one("Where are my keys?", "Where did I leave my keys?", "In which place are the keys?", "Where did I put the keys?"), f"Your keys are in the {place}.", place),
        (one(f"My flight is {gate}.", f"I fly with {gate}.", f"I have booked flight {gate}.", f"I am on flight {gate}."), "Noted.",
         one("What is my flight?", "Which flight do I take?", "What is my flight number?", "Which flight am I on?"), f"Your flight is {gate}.", gate),
        (one(f"I can spend {money} euros.", f"My budget is {money} euros.", f"I have {money} euros.", f"I saved {money} euros."), f"{money} euros. Noted.",
         one("How much can I spend?", "What is my budget?", "How much money do I have?", "How many euros do I have?"), f"You have {money} euros.", str(money)),
    ]  # fmt: skip
    chosen = [(number, Memory(*pool[number])) for number in rng.sample(range(len(pool)), rng.randint(1, most))]
    if held_out:
        return [memory for _, memory in chosen]
    kinds = list(FURTHER)
    return [_reworded(rng, memory, kinds[number], pet=pet, relative=relative) for number, memory in chosen]


def _reworded(rng: Random, memory: Memory, kind: str, **fields: str) -> Memory:
    """The same thing, at times told or asked for in other words."""
    statements, questions = FURTHER[kind]
    if rng.random() < REWORDED:
        memory = replace(memory, statement=rng.choice(statements).format(value=memory.value, **fields))
    if rng.random() < REWORDED:
        memory = replace(memory, question=rng.choice(questions).format(**fields))
    return memory
