"""What a user says so that the model calls tools: one call, two, or the last one again with one thing changed."""

from __future__ import annotations

import further_asks
from ask import Ask, Call
from free_sentence import free_sentence
from phrasebook import Phrase, Phrasebook, Said, capital, said_of
from tools import Parameter, Tool
from values import Value
from wordstock import Source

UNITS = {
    "amount": ("${}", "€{}", "{} euros", "{} EUR", "{}%", "{} percent", "{} dollars"),
    "degrees": ("{}°", "{} degrees"),
}
FREE = 0.15
"""Share of training's sentences without any pattern, where the values allow it."""
WRAPPED = 0.35
"""Share of a known tool's sentences that training begins and ends in another way."""
TWICE, ELLIPTICAL, AGAIN, FURTHER = 0.15, 0.5, 0.1, 0.12
"""Shares of training's asks for two calls, where they can be told by what differs, and of further follow-ups."""
NUMBER_WORDS = "one two three four five six seven eight nine ten eleven twelve".split()


class Asker:
    """Draws asks from a source."""

    def __init__(self, source: Source, book: Phrasebook) -> None:
        self.source, self.rng, self.book = source, source.rng, book

    def single(self, tool: Tool, *, is_clause: bool = False) -> Ask:
        """A sentence that asks for one call; a clause begins small and has no sign at its end."""
        if tool.asks:
            return self._known(tool, is_clause=is_clause)
        call = self.drawn(tool)
        sentence = self._sentence(call, self.said(call), is_clause=is_clause)
        return Ask(sentence if is_clause else self.book.dressed(sentence), (call,))

    def drawn(self, tool: Tool, optional: float = 0.45) -> Call:
        """A call with values for what is required, and for that share of what is not."""
        return Call(
            tool,
            {
                one.key: one.value(self.source)
                for one in tool.parameters
                if one.is_required or self.rng.random() < optional
            },
        )

    def _known(self, tool: Tool, *, is_clause: bool) -> Ask:
        pattern = self.rng.choice(tool.asks)
        if self.book.composer and self.rng.random() < 0.25:
            pattern = self.book.composer.disturbed("command", pattern)
        if self.book.composer and not is_clause and self.rng.random() < WRAPPED:
            pattern = further_asks.wrapped(self.book.composer, pattern)
        given = {one.key: one.value(self.source) for one in tool.parameters if f"{{{one.key}}}" in pattern}
        said = {
            one.key: self.book.spoken(self._worded(one, given[one.key])) for one in tool.parameters if one.key in given
        }
        if is_clause:
            return Ask(pattern.rstrip(".?!").format(**said), (Call(tool, given),))
        return Ask(self.book.dressed(pattern.format(**said)), (Call(tool, given),))

    def _worded(self, parameter: Parameter, value: Value) -> Value:
        """A value as people may write it: a number in letters or with its unit, an option without its underscores."""
        if parameter.looks == "number" and not isinstance(value, str | bool | list) and self.rng.random() < 0.1:
            return Phrase(self._counted(parameter, value))
        if parameter.options and isinstance(value, str) and self.rng.random() < 0.5:
            return value.replace("_", " ")
        return value

    def _counted(self, parameter: Parameter, value: float) -> str:
        if value in range(1, len(NUMBER_WORDS) + 1) and isinstance(value, int):
            return NUMBER_WORDS[value - 1]
        return self.rng.choice(UNITS.get(parameter.kind, ("{}",))).format(value)

    def said(self, call: Call) -> list[Said]:
        """The arguments of a call as a sentence says them."""
        said = []
        for one in call.tool.parameters:
            if one.key in call.arguments:
                key = one.key if self.rng.random() < 0.15 else one.words
                kind = "any" if one.options else one.kind
                said.append(Said(key, self._worded(one, call.arguments[one.key]), kind))
        return said

    def _sentence(self, call: Call, said: list[Said], *, is_clause: bool = False) -> str:
        tool = call.tool
        if self.book.composer and self.rng.random() < FREE and self._can_be_free(call):
            verb = self.rng.choice(tool.verbs)
            return free_sentence(self.book.composer, verb, tool.noun, [self.book.spoken(one.value) for one in said])
        can_be_bare = self.can_be_bare(call)
        if not can_be_bare and self.rng.random() < 0.35:
            self.rng.shuffle(said)
        verb = tool.verbs[0] if self.rng.random() < 0.6 else self.rng.choice(tool.verbs)
        if is_clause:
            return self.book.fill(
                self.book.fitting(lambda: self.book.clause(tool.reads), said),
                said,
                can_be_bare,
                {"verb": verb, "noun": tool.noun},
            )
        kind = "question" if tool.reads and self.rng.random() < 0.55 else "command"
        return self.book.sentence(kind, said, can_be_bare=can_be_bare, verb=verb, noun=tool.noun)

    def can_be_bare(self, call: Call) -> bool:
        """Whether values say by their looks which arguments they are: also against optional ones that are left out."""
        looks = [one.looks for one in call.tool.parameters if one.key in call.arguments]
        return len(set(looks)) == len(looks) and not any(
            one.looks in looks
            for one in call.tool.parameters
            if one.key not in call.arguments and not self._comes_later(call, one)
        )

    @staticmethod
    def _can_be_free(call: Call) -> bool:
        """Whether values without names say which they are: by their looks, or in the order of the schema."""
        looks = [one.looks for one in call.tool.parameters]
        return len(call.arguments) == len(looks) > 0 and "flag" not in looks and "list" not in looks

    def _comes_later(self, call: Call, left_out: Parameter) -> bool:
        """An argument left out is no rival of a required one that stands before it."""
        keys = [one.key for one in call.tool.parameters]
        rivals = [one for one in call.tool.parameters if one.key in call.arguments and one.looks == left_out.looks]
        return all(one.is_required and keys.index(one.key) < keys.index(left_out.key) for one in rivals)

    def two(self, tools: list[Tool]) -> Ask:
        """A sentence that asks for two calls: of two tools, or of one with two values."""
        first, composer = self.rng.choice(tools), self.book.composer
        others = [tool for tool in tools if tool is not first]
        if composer and self.rng.random() < TWICE:
            again = further_asks.twice(self, composer, first)
            if again:
                return again
        alike = [tool for tool in others if tool.verbs == first.verbs and not (tool.asks or first.asks)]
        if composer and alike and self.rng.random() < ELLIPTICAL:
            return further_asks.elliptical(self, composer, first, self.rng.choice(alike))
        if self.rng.random() < 0.45 or not others:
            asked = self._both(first)
            if asked:
                return asked
        second = self.rng.choice(others or [first])
        if composer and self.rng.random() < AGAIN:
            second = first
        one, two = self.single(first, is_clause=True), self.single(second, is_clause=True)
        pattern = self.book.pattern("two")
        if composer and (first.asks or second.asks):
            pattern = further_asks.whole_sentences(self, composer, (one, two))
        elif first.asks or second.asks:
            pattern = self.rng.choice(
                (
                    "{First}. {Second}.",
                    "{First}. Also: {second}.",
                    "{First}; {second}",
                    "{First}. And {second}?",
                    "{First} and {second}.",
                )
            )
        a, b = one.sentence, two.sentence
        return Ask(
            self.book.dressed(pattern.format(first=a, second=b, First=_begun(one), Second=_begun(two))),
            one.calls + two.calls,
        )

    def _both(self, tool: Tool) -> Ask | None:
        """One sentence with two values for one argument."""
        plain = [one for one in tool.parameters if one.is_required and one.looks not in ("flag", "list", "option")]
        if not plain:
            return None
        changed = self.rng.choice(plain)
        one = self.single(tool).calls[0] if tool.asks else self.drawn(tool, 0.3)
        if changed.key not in one.arguments or isinstance(one.arguments[changed.key], list):
            return None
        other = changed.value(self.source)
        if other == one.arguments[changed.key]:
            return None
        both = Phrase(self.book.pattern("both").format(value=one.arguments[changed.key], other=other))
        if tool.asks:
            pattern = self.rng.choice(
                [
                    ask
                    for ask in tool.asks
                    if all((f"{{{key}}}" in ask) == (key in one.arguments) for key in [p.key for p in tool.parameters])
                ]
            )
            sentence = pattern.format(
                **{
                    p.key: both if p is changed else self.book.spoken(one.arguments[p.key])
                    for p in tool.parameters
                    if p.key in one.arguments
                }
            )
        else:
            said = [
                Said(s.key, both, s.kind) if key == changed.key else s
                for key, s in zip(one.arguments, self.said(one), strict=True)
            ]
            sentence = self._sentence(one, said)
        return Ask(self.book.dressed(sentence), (one, Call(tool, one.arguments | {changed.key: other})))

    def follow(self, last: Call) -> Ask | None:
        """The last call again, with another value: named, or bare where its looks say which is meant."""
        if self.book.composer and self.rng.random() < FURTHER:
            return further_asks.follow_further(self, self.book.composer, last)
        plain = [one for one in last.tool.parameters if one.looks not in ("flag", "list")]
        scalar = [one for one in plain if one.key in last.arguments]
        left_out = [one for one in plain if one.key not in last.arguments]
        is_added = bool(left_out) and self.rng.random() < 0.15
        if not scalar and not is_added:
            return None
        changed = self.rng.choice(left_out if is_added else scalar)
        value = changed.value(self.source)
        if value == last.arguments.get(changed.key):
            return None
        rivals = [
            one
            for one in last.tool.parameters
            if one.looks == changed.looks and one is not changed and one.key in last.arguments
        ]
        spoken = self.book.spoken(self._worded(changed, value))
        if not rivals and not is_added and self.rng.random() < 0.7:
            sentence = self.book.pattern("follow_value").format(value=spoken, Value=spoken)
        else:
            key = changed.words
            sentence = self.book.pattern("follow_named").format(value=spoken, Value=spoken, key=key, Key=capital(key))
        given = last.arguments | {changed.key: value}
        ordered = {one.key: given[one.key] for one in last.tool.parameters if one.key in given}
        return Ask(self.book.dressed(sentence), (Call(last.tool, ordered),))


def _begun(ask: Ask) -> str:
    """A clause as the beginning of a sentence; a value that it begins with is left as it is."""
    values = [value for call in ask.calls for value in call.arguments.values()]
    return ask.sentence if ask.sentence.startswith(said_of(values)) else capital(ask.sentence)
