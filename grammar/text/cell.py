"""The axis of lengths, cut into cells in each of which a language is a formula over patterns and finite sets alone."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from espalier.grammar.text.language import Language

Formula: TypeAlias = "Language | bool"


class Cell(NamedTuple):
    """Lengths from, to (None: no end), and what has to hold there."""

    low: int
    high: int | None
    formula: Formula


def cells(language: Language) -> list[Cell]:
    """In ascending order, covering every length."""
    cuts = {0}
    for atom in language.atoms():
        if atom.operator == "length":
            low, high = atom.bounds
            cuts.update({low} if high is None else {low, high + 1})
    ordered = sorted(cuts)
    found: list[Cell] = []
    for low, after in zip(ordered, [*ordered[1:], None], strict=True):
        formula = _within(language, low)
        begin = low
        if found and found[-1].formula == formula:
            begin = found.pop().low
        found.append(Cell(begin, None if after is None else after - 1, formula))
    return found


def _within(language: Language, length: int) -> Formula:
    """What a language says about texts of so many code points."""
    if language.operator in ("every", "nothing"):
        return language.operator == "every"
    if language.operator == "length":
        low, high = language.bounds
        return low <= length and (high is None or length <= high)
    if language.operator == "not":
        inner = _within(language.parts[0], length)
        return not inner if isinstance(inner, bool) else ~inner
    if language.operator == "and":
        parts = [_within(part, length) for part in language.parts]
        if False in [part for part in parts if isinstance(part, bool)]:
            return False
        left = tuple(part for part in parts if isinstance(part, Language))
        return (left[0] if len(left) == 1 else Language("and", None, left)) if left else True
    return language
