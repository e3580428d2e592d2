"""What an automaton is made of, and how a pattern becomes a combination of such parts.

Three things are taken out of a pattern because others do them better: looks at the start are intersections, counts of
something of fixed width are lengths (`^.{1,5000}$` is `^.*$` of 1 to 5,000 code points), and in an unanchored search
repetitions at the ends are cut to their least counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from espalier.grammar.text.tree import EMPTY, Assertion, Concat, Look, Repetition, Tree, is_plain, joined, spell, width

LONG = 24  # repetitions beyond this are counted as lengths, where that is exact
_START, _END = Assertion("^"), Assertion("$")


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree that is searched for; its text is what compares."""

    text: str
    tree: Tree = field(compare=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """A string matches if all expressions match, none of the `excluded` ones does, and its length is in the range."""

    expressions: tuple[Expression, ...]
    excluded: tuple[Expression, ...]
    min_len: int
    max_len: int | None


def divide(tree: Tree) -> Parts:
    """A pattern as parts whose conjunction says exactly the same."""
    items = tree.items if isinstance(tree, Concat) else (tree,)
    num_ahead = next((i for i, item in enumerate(items) if item != _START and not isinstance(item, Look)), len(items))
    if _START not in items[:num_ahead]:
        return Parts(_expressions(_cut(items)), (), 0, None)
    looks = [item for item in items[:num_ahead] if isinstance(item, Look)]
    body, shortest, longest = _counted((_START, *items[num_ahead:]))
    ahead = [expression for look in looks if look.positive for expression in _expressions((_START, look.inner))]
    behind = [_expression((_START, look.inner)) for look in looks if not look.positive]
    return Parts((*ahead, *_expressions(body)), tuple(behind), shortest, longest)


def _expression(items: tuple[Tree, ...]) -> Expression:
    tree = joined(items)
    return Expression(spell(tree), tree)


def _expressions(items: tuple[Tree, ...]) -> tuple[Expression, ...]:
    """The expression, if it says anything."""
    return () if joined(items) in (EMPTY, _START) else (_expression(items),)


def _cut(items: tuple[Tree, ...]) -> tuple[Tree, ...]:
    """Items searched for anywhere: those at the ends need only their least counts."""
    while items and (shorter := _least(items[0])) != items[0]:
        items = _flat(shorter, *items[1:])
    while items and (shorter := _least(items[-1])) != items[-1]:
        items = _flat(*items[:-1], shorter)
    return items


def _flat(*items: Tree) -> tuple[Tree, ...]:
    found = joined(items)
    return found.items if isinstance(found, Concat) else (found,)


def _least(item: Tree) -> Tree:
    if not isinstance(item, Repetition) or not is_plain(item):
        return item
    if item.least > 1 or (item.least == 1 and item.most == 1):
        return Repetition(item.item, item.least, item.least)
    return item.item if item.least else EMPTY


def _counted(items: tuple[Tree, ...]) -> tuple[tuple[Tree, ...], int, int | None]:
    """Anchored items with the longest repetition without a count, and the lengths that say the count; as they are
    if that is not exact.
    """
    inner = items[1:-1]
    if len(items) < 3 or items[-1] != _END or not all(is_plain(item) for item in inner):
        return items, 0, None
    widths = [width(item) for item in inner]
    open_places = [i for i, w in enumerate(widths) if w is None]
    candidates = open_places or [i for i, item in enumerate(inner) if isinstance(item, Repetition)]
    if len(open_places) > 1 or not candidates:
        return items, 0, None
    place = max(candidates, key=lambda i: widths[i] or 0)
    chosen = inner[place]
    each = width(chosen.item) if isinstance(chosen, Repetition) else None
    if not isinstance(chosen, Repetition) or not each or max(chosen.least, chosen.most or 0) <= LONG:
        return items, 0, None
    others = sum(w for i, w in enumerate(widths) if i != place and w is not None)
    body = (_START, *inner[:place], Repetition(chosen.item, min(chosen.least, 1), None), *inner[place + 1 :], _END)
    longest = None if chosen.most is None else others + each * chosen.most
    return body, others + each * chosen.least, longest
