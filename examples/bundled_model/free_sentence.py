"""Sentences that follow no pattern: what to do, with what, and the values, among words that say nothing.

Only training takes them. They teach to find values by what they look like and by their order, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from composition import Composer


def free_sentence(composer: Composer, verb: str, noun: str, values: Sequence[str]) -> str:
    """A sentence with a verb, a noun and the values in this order."""
    rng = composer.rng
    parts = [f"{verb} {composer.part('a')} {noun}".replace("  ", " ")] if rng.random() < 0.6 else [noun, verb]
    if rng.random() < 0.25:
        rng.shuffle(parts)
    at = rng.choice((0, 0, 0, len(values), rng.randint(0, len(values))))
    pieces = [*values[:at], *parts, *values[at:]]
    said = _filler(composer) if rng.random() < 0.6 else ""
    for number, piece in enumerate(pieces):
        is_value = piece not in parts
        led = f"{composer.part('of')} " if is_value and rng.random() < 0.6 else ""
        said += f"{led}{piece}"
        if number < len(pieces) - 1:
            # Behind a value a sign or a small word says that it is over.
            said += rng.choice((", ", ", ", "; ", " - ", " ", " ")) if is_value else " "
            said += _filler(composer) if rng.random() < 0.4 else ""
    said = said.strip() + composer.part("end")
    return said[0].upper() + said[1:] if said.startswith(verb) and rng.random() < 0.7 else said


def _filler(composer: Composer) -> str:
    return "".join(f"{composer.part('w')} " for _ in range(composer.rng.choice((1, 1, 2, 2, 3))))
