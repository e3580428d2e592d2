"""What a text machine says of many lengths at once, against what it says of each."""

from __future__ import annotations

import pytest

from espalier.grammar.limits import Limits
from espalier.grammar.text import Language, text_machine

LENGTHS = Language.length
LANGUAGES = {
    "every": Language.EVERY,
    "short": LENGTHS(0, 5),
    "long": LENGTHS(7, None),
    "between": LENGTHS(3, 9),
    "not between": ~LENGTHS(3, 9),
    "two ranges": LENGTHS(1, 2) | LENGTHS(6, 8),
    "begun right": Language.pattern("^a") & LENGTHS(2, 6),
    "a pattern for some lengths": (Language.pattern("^a") & LENGTHS(0, 4)) | LENGTHS(6, 7),
}


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("text", ["", "a", "b", "ab", "aaaa"])
def test_lengths_of_a_free_state_are_those_of_each_number(name: str, text: str) -> None:
    machine = text_machine(LANGUAGES[name], Limits())
    state = machine.start
    for byte in text.encode():
        state = machine.step(state, byte)
        if state < 0:
            return
    if not machine.free(state):
        return
    for count in range(len(text), 12):
        lives, ends = machine.lengths(state, count, 10)
        assert lives.tolist() == [machine.lives(state, count + more) for more in range(10)]
        assert ends.tolist() == [machine.accepts(state, count + more) for more in range(10)]
