"""Asks in forms that only training shows: a tool's second call told by what differs, a follow-up that changes more.

None of this is measured. Each function is given the `Asker` whose source and phrasebook it draws from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import lexicon
from ask import Ask, Call
from composition import Composer
from phrasebook import Phrase, Said, capital
from tools import Tool

if TYPE_CHECKING:
    from asking import Asker

_IMPERATIVES = {verb.split()[0] for group in (*lexicon.READING, *lexicon.WRITING) for verb in group} | set(
    "add announce ask befriend block borrow brew bring call change deploy drop email enrol give google hand heat hire "
    "keep lend let log make message multiply mute note open park phone ping plant play post put quote read reboot "
    "recommend remind restart ring roll run say scale select silence sign split subtract swap switch tag take tell "
    "text tip transfer turn wake wash wire write arrange draw fill raise lower dim grant hold".split()
)
_LEADS = ("greet", "story", "aside", "aside", "because", "soften")


def is_imperative(sentence: str) -> bool:
    """Whether a sentence of the toolbox begins with what is to be done, so that `can you` may stand before it."""
    return sentence.split(" ")[0].lower() in _IMPERATIVES


def wrapped(composer: Composer, pattern: str) -> str:
    """A whole sentence as somebody else would begin and end it."""
    if is_imperative(pattern):
        stem = pattern.rstrip(".!?")
        said = f"{composer.part('begin')}{stem[0].lower()}{stem[1:]}{composer.part('end')}"
        return said if composer.rng.random() < 0.3 or said[0] == "{" else capital(said)
    lead = composer.part(composer.rng.choice(_LEADS))
    return f"{capital(lead) if composer.rng.random() < 0.7 else lead} {pattern}"


def twice(asker: Asker, composer: Composer, tool: Tool) -> Ask | None:
    """One tool for two sets of values, and what to do said once: `book a room for Bela and another for Ada`."""
    one = asker.drawn(tool)
    given = [parameter for parameter in tool.parameters if parameter.key in one.arguments]
    if tool.asks or not given:
        return None
    changed = asker.rng.sample(given, asker.rng.randint(1, len(given))) if asker.rng.random() < 0.4 else given
    new = {parameter.key: parameter.value(asker.source) for parameter in given if parameter in changed}
    two = Call(tool, one.arguments | new)
    if one == two:
        return None
    # What is the same for both is said with the first alone.
    other = Call(tool, new)
    return _joined(asker, composer, one, two, asker.said(other), lambda: f"{composer.part('another')}{{args}}")


def elliptical(asker: Asker, composer: Composer, first: Tool, second: Tool) -> Ask:
    """Two tools that share their verb, which is said once: `show the balance of A-1 and the address of Bela`."""
    one, two = asker.drawn(first), asker.drawn(second)
    return _joined(asker, composer, one, two, asker.said(two), lambda: composer.part("ellipsis"))


def _joined(
    asker: Asker, composer: Composer, one: Call, two: Call, more: Sequence[Said], rest: Callable[[], str]
) -> Ask:
    book, tool = asker.book, one.tool
    fields = {"verb": asker.rng.choice(tool.verbs), "noun": tool.noun}
    said = asker.said(one)
    pattern = book.fitting(lambda: book.clause(tool.reads), said)
    clause = book.fill(pattern, said, asker.can_be_bare(one), fields)
    other = book.fill(book.fitting(rest, more), more, asker.can_be_bare(two), {"noun": two.tool.noun})
    other = other.strip(" ,;:\n")
    pattern = composer.pattern("twice")
    return Ask(
        book.dressed(pattern.format(first=clause, First=capital(clause), second=other, Second=capital(other))),
        (one, two),
    )


def whole_sentences(asker: Asker, composer: Composer, asks: Sequence[Ask]) -> str:
    """The pattern for two asks of which one at least is a whole sentence, not a clause."""
    if all(is_imperative(ask.sentence) for ask in asks) and asker.rng.random() < 0.6:
        return asker.book.pattern("two")
    return composer.part("sentences")


def follow_further(asker: Asker, composer: Composer, last: Call) -> Ask | None:
    """The last call with several things changed at once, or again for two values."""
    rng, book = asker.rng, asker.book
    plain = [one for one in last.tool.parameters if one.looks != "list" and one.key in last.arguments]
    if len(plain) > 1 and rng.random() < 0.6:
        changed = rng.sample(plain, rng.randint(2, len(plain)))
        new = Call(last.tool, last.arguments | {one.key: one.value(asker.source) for one in changed})
        said = asker.said(Call(last.tool, {one.key: new.arguments[one.key] for one in changed}))
        sentence = book.fill(composer.pattern("follow_pairs"), said, False, {})
        return Ask(book.dressed(sentence.strip()), (new,)) if new != last else None
    scalar = [one for one in plain if one.looks not in ("flag", "option")]
    looks = [one.looks for one in last.tool.parameters]
    if not scalar or looks.count((chosen := rng.choice(scalar)).looks) > 1:
        return None
    one, two = chosen.value(asker.source), chosen.value(asker.source)
    if one == two or last.arguments[chosen.key] in (one, two):
        return None
    both = Phrase(book.pattern("both").format(value=one, other=two))
    sentence = book.pattern("follow_value").format(value=both, Value=both)
    calls = tuple(Call(last.tool, last.arguments | {chosen.key: value}) for value in (one, two))
    return Ask(book.dressed(sentence), calls)
