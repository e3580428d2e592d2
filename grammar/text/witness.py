"""Texts out of a product: a shortest one, and how many there are."""

from __future__ import annotations

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.text.cell import Cell
from espalier.grammar.text.nfa import FAR
from espalier.grammar.text.product import NOWHERE, Product
from espalier.grammar.text.reach import Reach

_LONG = 256  # beyond this it pays to look for a cycle
_MAX_LAYERS = 20_000


def shortest(product: Product, reach: Reach, state: int, num_left: int) -> str:
    """A text of so many code points that completes a state, of which one is known to exist.

    The choice depends on the state and on what is left modulo the period of lengths, so a long text is a cycle many
    times over.
    """
    found: list[str] = []
    start, period = reach.tail() if num_left > _LONG else (num_left, 1)
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    while num_left:
        if num_left > start:
            place, left_then = seen.setdefault((state, num_left % period), (len(found), num_left))
            times = (num_left - start) // (left_then - num_left) if left_then > num_left else 0
            if times:
                found.extend(found[place:] * times)
                num_left -= times * (left_then - num_left)
                start = num_left
                continue
        state, char = _next(product, reach, state, num_left - 1)
        num_left -= 1
        found.append(char)
    return "".join(found)


def _next(product: Product, reach: Reach, state: int, num_left: int) -> tuple[int, str]:
    """A state from which exactly so many code points complete, and a character that leads to it."""
    rest, others = product.row(state)
    can = {after: after != NOWHERE and reach.lives(after, num_left, num_left) for after in {rest, *others.values()}}
    kind = next(kind for kind in product.alphabet.by_niceness if can[others.get(kind, rest)])
    return others.get(kind, rest), product.alphabet.samples[kind]


def cardinality(product: Product, reaches: list[Reach], cells: list[Cell], most: int) -> int:
    """The number of texts, at most `most`, by the numbers of live beginnings of each length.

    Beginnings of one length lead to different texts, so `most` of them are enough.
    """
    layer, found = {product.start: 1}, 0
    for length in range(_MAX_LAYERS):
        cell = next(i for i, cell in enumerate(cells) if cell.high is None or length <= cell.high)
        found += sum(num for state, num in layer.items() if product.holds(state, cells[cell].formula))
        if max(found, sum(layer.values())) >= most:
            return most
        layer = _longer(product, reaches, cells, layer, length + 1)
        if not layer:
            return found
    raise GrammarTooLargeError("pattern_states", _MAX_LAYERS, "the length of the few texts that a pattern allows")


def _longer(
    product: Product, reaches: list[Reach], cells: list[Cell], layer: dict[int, int], length: int
) -> dict[int, int]:
    after: dict[int, int] = {}
    for state, num in layer.items():
        rest, others = product.row(state)
        for kind, size in enumerate(product.alphabet.sizes):
            target = others.get(kind, rest)
            if target != NOWHERE:
                after[target] = after.get(target, 0) + num * size
    return {state: num for state, num in after.items() if _lives(reaches, cells, state, length)}


def _lives(reaches: list[Reach], cells: list[Cell], state: int, length: int) -> bool:
    return any(
        reach.lives(state, max(cell.low - length, 0), FAR if cell.high is None else cell.high - length)
        for reach, cell in zip(reaches, cells, strict=True)
        if cell.high is None or cell.high >= length
    )
