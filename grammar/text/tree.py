"""Syntax trees of patterns, and what can be said of them without an automaton.

Trees are built by the functions here, which keep them small: groups vanish, nested repetitions join where that is
exact. `spell` writes a tree as text, the same for equal trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from espalier.grammar.text.code_points import Ranges, normal


@dataclass(frozen=True, slots=True)
class Class:
    """One code point of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Assertion:
    """Nothing, at a certain place: `^`, `$`, or `b` and `B` for word boundaries."""

    kind: Literal["^", "$", "b", "B"]


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing, where what follows matches, or (negative) does not."""

    inner: Tree
    positive: bool


@dataclass(frozen=True, slots=True)
class Concat:
    """One after the other."""

    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """Any of them."""

    options: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """So many times."""

    item: Tree
    least: int
    most: int | None


Tree: TypeAlias = "Class | Assertion | Look | Concat | Alternation | Repetition"
EMPTY = Concat(())


def joined(items: Sequence[Tree]) -> Tree:
    """One after the other."""
    flat: list[Tree] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Concat) else (item,))
    return flat[0] if len(flat) == 1 else Concat(tuple(flat))


def either(options: Sequence[Tree]) -> Tree:
    """Any of them; single code points become one class."""
    flat: dict[Tree, None] = {}
    ranges: list[tuple[int, int]] = []
    for option in options:
        for part in option.options if isinstance(option, Alternation) else (option,):
            if isinstance(part, Class):
                ranges.extend(part.ranges)
            else:
                flat[part] = None
    if ranges:
        flat[Class(normal(ranges))] = None
    return next(iter(flat)) if len(flat) == 1 else Alternation(tuple(flat))


def repeated(item: Tree, least: int, most: int | None) -> Tree:
    """So many times; `(x{a,b}){c,d}` becomes `x{ac,bd}` if every number between can be had."""
    if most == 0 or item == EMPTY:
        return EMPTY
    if least == most == 1:
        return item
    if isinstance(item, Repetition):
        inner_least, inner_most = item.least, item.most
        fits = least == most or (inner_most is None and (least > 0 or inner_least <= 1))
        if fits or (inner_most is not None and (least + 1) * inner_least <= least * inner_most + 1):
            longest = None if most is None or inner_most is None else most * inner_most
            return Repetition(item.item, least * inner_least, longest)
    return Repetition(item, least, most)


def begins_at_start(tree: Tree) -> bool:
    """Whether a tree matches only from the start of the text."""
    if isinstance(tree, Assertion):
        return tree.kind == "^"
    if isinstance(tree, Alternation):
        return all(begins_at_start(option) for option in tree.options)
    if isinstance(tree, Repetition):
        return tree.least > 0 and begins_at_start(tree.item)
    if isinstance(tree, Concat):
        for item in tree.items:
            if begins_at_start(item):
                return True
            if not isinstance(item, Look | Assertion):
                return False
    return False


def is_plain(tree: Tree) -> bool:
    """Whether it has neither assertions nor looks: what it matches does not depend on what is around."""
    if isinstance(tree, Class):
        return True
    if isinstance(tree, Concat | Alternation):
        return all(is_plain(part) for part in (tree.items if isinstance(tree, Concat) else tree.options))
    return isinstance(tree, Repetition) and is_plain(tree.item)


def width(tree: Tree) -> int | None:
    """How many code points it matches, if that is always the same; for plain trees."""
    if isinstance(tree, Class):
        return 1
    if isinstance(tree, Repetition):
        inner = width(tree.item) if tree.least == tree.most else None
        return None if inner is None else inner * tree.least
    if isinstance(tree, Concat):
        widths = [width(item) for item in tree.items]
        return None if None in widths else sum(w for w in widths if w is not None)
    if isinstance(tree, Alternation):
        different = {width(option) for option in tree.options}
        return different.pop() if len(different) == 1 else None
    return None


def spell(tree: Tree) -> str:
    """A tree as text: equal texts, equal trees."""
    if isinstance(tree, Class):
        return f"[{','.join(f'{low:x}-{high:x}' if low < high else f'{low:x}' for low, high in tree.ranges)}]"
    if isinstance(tree, Assertion):
        return tree.kind
    if isinstance(tree, Look):
        return f"({'=' if tree.positive else '!'}{spell(tree.inner)})"
    if isinstance(tree, Repetition):
        return f"({spell(tree.item)}){{{tree.least},{'' if tree.most is None else tree.most}}}"
    if isinstance(tree, Concat):
        return "".join(map(spell, tree.items))
    return f"(:{'|'.join(map(spell, tree.options))})"
