"""Dialogues with tools, and of remembering: what the model is trained to do for agents, and measured by.

Each scenario is a function of a `Source`, so that the same code draws what training shows, the same patterns with words
that it never shows, and patterns that it never shows.
"""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

import json
from typing import Any

from ask import Ask, Call
from asking import Asker
from dialogue import Dialogue
from memories import Memory, memories
from phrasebook import Patterns, Phrasebook, capital, key_words
from results import Result, cites_of, make_result, told
from small_talk import exchange
from toolbox import known_tool, toolbox
from tools import Tool, made_up_tool
from values import make_value
from wordstock import Source

SYSTEM = (
    "You are a helpful assistant.", "You are Espalier, a small and friendly model.", "Answer briefly.", "You are an agent. Call a tool when one fits.",
    "You help people with short questions.", "You are a careful assistant. Use only what is given.", "Be kind and precise.", "Use the tools.",
    "You can call tools to help the user. Never make up what a tool would tell.",
)  # fmt: skip
_REMEMBERED = (
    "person place code code date time email phrase title word word count count amount colour url phone slug day"
).split()  # fmt: skip
REFUSAL = "I am sorry, none of my tools can do that."


def offer(source: Source) -> list[Tool]:
    """One to `source.most_tools` tools that no sentence confuses, some of them alike in verb or noun."""
    rng = source.rng
    wanted = rng.choice([count for count in (1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8) if count <= source.most_tools])
    tools: list[Tool] = []
    known = toolbox("held_out" if source.is_unseen else "train")
    share = 0.0 if source.is_unseen else rng.choice((0.0, 0.0, 0.3, 1.0, 1.0))
    while len(tools) < wanted:
        draw = rng.random()
        if draw < share:
            tool = known_tool(source, rng.choice(known), may_rename=True)
        elif tools and draw > 0.75 and tools[-1].noun:
            tool = made_up_tool(source, noun=tools[-1].noun)
        elif tools and draw > 0.6 and tools[-1].verbs:
            tool = made_up_tool(source, verbs=tools[-1].verbs)
        else:
            tool = made_up_tool(source)
        if not any(tool.resembles(other) for other in tools):
            tools.append(tool)
    rng.shuffle(tools)
    return tools


class Scene:
    """A dialogue that grows turn by turn."""

    def __init__(self, source: Source, patterns: Patterns | None = None, tools: list[Tool] | None = None) -> None:
        self.source, self.rng = source, source.rng
        self.book = Phrasebook(source, patterns)
        self.asker = Asker(source, self.book)
        self.tools = offer(source) if tools is None else tools
        self.dialogue = Dialogue(tools=[tool.schema() for tool in self.tools])
        self.last: Call | None = None
        self.results: list[Result] = []
        # The server's grammar writes spaces; clients may send an older call back without.
        styles = (*((", ", ": "),) * 7, (",", ":"))
        self._separators = styles[0] if source.is_spaced else self.rng.choice(styles)
        if self.rng.random() < 0.35:
            self.dialogue.say("system", self.rng.choice(SYSTEM))

    def calls(self, ask: Ask, kind: str) -> None:
        """A turn with tools: what the user says, the calls, their results, the answer."""
        self.dialogue.say("user", ask.sentence)
        made: list[dict[str, Any]] = []
        for number, call in enumerate(ask.calls):
            written = json.dumps(call.arguments, ensure_ascii=False, separators=self._separators)
            function = {"name": call.tool.name, "arguments": written}
            made.append(
                {"id": f"call_{len(self.dialogue.messages)}_{number}", "type": "function", "function": function}
            )
        self.dialogue.say("assistant", "", tool_calls=made, kind=kind)
        results = [make_result(self.source, call) for call in ask.calls]
        for one, result in zip(made, results, strict=True):
            self.dialogue.say("tool", result.content, tool_call_id=one["id"])
        self.results = results
        cites = [cite for result in results for cite in result.cites]
        self.dialogue.say("assistant", " ".join(result.answer for result in results), kind="answer", cites=cites)
        self.last = ask.calls[-1] if len({call.tool.name for call in ask.calls}) == 1 else None

    def single(self) -> None:
        """One call."""
        self.calls(self.asker.single(self.rng.choice(self.tools)), "single")

    def two(self) -> None:
        """Two calls in one turn, if there are two that differ."""
        ask = self.asker.two(self.tools)
        self.calls(ask, "two_call") if ask.calls[0] != ask.calls[1] else self.single()

    def follow(self) -> None:
        """A call, if there was none, and the same again with another value."""
        for _ in range(4):
            if self.last is None:
                self.single()
            assert self.last is not None
            again = self.asker.follow(self.last)
            if again is not None:
                return self.calls(again, "follow_up")
            self.last = None
        return None

    def look_back(self) -> None:
        """A question for something in a result that is there already."""
        known = {key_words(key): value for result in self.results for key, value in result.fields.items()}
        nouns = {word for tool in self.tools for word in key_words(tool.name).split()}
        known = {key: value for key, value in known.items() if not nouns & set(key.split())}
        if not known:
            self.single()
        else:
            key = self.rng.choice(list(known))
            asked = (
                self.book.pattern("asked").replace("my {thing}", "the {thing}").format(thing=key, Thing=capital(key))
            )
            answer = (
                f"The {key} {'are' if isinstance(known[key], list) else 'is'} {told(known[key]).removesuffix('.')}."
            )
            self.dialogue.turn(self.book.dressed(asked), answer, kind="look back", cites=cites_of(known[key]))

    def small_talk(self) -> None:
        """Words that ask for no tool."""
        self.dialogue.turn(*exchange(self.rng, False), kind="plain")

    def refuse(self) -> None:
        """A wish that no tool fulfils."""
        other = made_up_tool(self.source)
        if any(other.resembles(tool) or other.noun == tool.noun for tool in self.tools):
            self.small_talk()
        else:
            self.dialogue.turn(self.asker.single(other).sentence, REFUSAL, kind="plain")


def single_call(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """One question, one call, one answer."""
    scene = Scene(source, patterns)
    scene.single()
    return scene.dialogue


def known_call(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """One call of a tool that people know, among such tools."""
    known = toolbox("held_out" if source.is_unseen else "train", source.toolbox)
    chosen = source.rng.sample(known, min(len(known), source.rng.randint(1, 8)))
    scene = Scene(source, patterns, tools=[known_tool(source, entry) for entry in chosen])
    scene.single()
    return scene.dialogue


def two_calls(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """Two calls in one turn."""
    while True:
        scene = Scene(source, patterns)
        scene.two()
        if _has(scene.dialogue, "two_call"):
            return scene.dialogue


def follow_up(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """A call, and the same with another value."""
    while True:
        scene = Scene(source, patterns)
        scene.follow()
        if _has(scene.dialogue, "follow_up"):
            return scene.dialogue


def _has(dialogue: Dialogue, kind: str) -> bool:
    return any(message.get("kind") == kind for message in dialogue.messages)


def _memory(scene: Scene) -> Memory:
    """Something that people tell about themselves: by a pattern, or in words of its own."""
    rng, source, book = scene.rng, scene.source, scene.book
    if rng.random() < 0.35:
        return memories(rng, source.is_unseen, most=1)[0]
    thing = source.thing()
    value = told(make_value(source, rng.choice(_REMEMBERED)))
    said = book.pattern("told").format(thing=thing, Thing=capital(thing), value=value, Value=value)
    asked = book.pattern("asked").format(thing=thing, Thing=capital(thing))
    reply = rng.choice(("Noted.", "I will remember that.", "Good to know."))
    return Memory(book.dressed(said), reply, book.dressed(asked), f"Your {thing} is {value}.", value)


def recall(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """Something said, two to four turns of other things, and the question for it."""
    rng = source.rng
    scene = Scene(source, patterns, None if rng.random() < 0.35 else [])
    kept = list({one.answer: one for one in (_memory(scene) for _ in range(rng.randint(1, 4)))}.values())
    # Of two names for one thing nobody could say which is meant.
    kept = list({one.answer.partition(" is ")[0]: one for one in kept}.values())
    if len(kept) > 1 and rng.random() < 0.2:
        joint = rng.choice((" ", " ", "\n", " Also: ", " And one more: ", " - ")) if scene.book.composer else " "
        scene.dialogue.turn(f"{kept[0].statement}{joint}{kept[1].statement}", kept[1].reply)
    else:
        scene.dialogue.turn(kept[0].statement, kept[0].reply)
        for one in kept[1:2]:
            scene.dialogue.turn(one.statement, one.reply)
    for one in kept[2:]:
        scene.dialogue.turn(one.statement, one.reply)
    for _ in range(max(0, rng.randint(2, 4) - max(0, len(kept) - 2))):
        if scene.tools and rng.random() < 0.5:
            scene.single()
        elif rng.random() < 0.5:
            items = make_value(source, "list:word")
            assert isinstance(items, list)
            listed = ", ".join(map(str, items))
            scene.dialogue.turn(f"Repeat: {listed}", listed)
        else:
            scene.small_talk()
    for one in [kept[0], *(one for one in kept[1:] if rng.random() < 0.5)]:
        scene.dialogue.turn(one.question, one.answer, kind="recall", cites=[one.value])
    return scene.dialogue


def agent(source: Source, patterns: Patterns | None = None) -> Dialogue:
    """A longer talk with tools: calls of all kinds, small talk, wishes that no tool fulfils, things to remember."""
    rng, scene = source.rng, Scene(source, patterns)
    kept = _memory(scene) if rng.random() < 0.15 else None
    if kept:
        scene.dialogue.turn(kept.statement, kept.reply)
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4))):
        draw = rng.random()
        if draw < 0.34:
            scene.single()
        elif draw < 0.63:
            scene.two()
        elif draw < 0.87:
            scene.follow()
        elif draw < 0.9:
            scene.look_back()
        elif draw < 0.94:
            scene.small_talk()
        else:
            scene.refuse()
    if kept:
        scene.dialogue.turn(kept.question, kept.answer, kind="recall", cites=[kept.value])
    return scene.dialogue


MEASURED = {one.__name__: one for one in (single_call, known_call, two_calls, follow_up, recall)}
"""Scenarios that are measured; those with calls also show answers from results."""
