"""What a string says so far that is one of finitely many texts: a place in their trie, no automaton.

For texts that JSON spells as they are; all others are left to the machines of `text_frame`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from functools import lru_cache

import numpy as np

from espalier.grammar.name_paths import name_paths
from espalier.grammar.name_trie import Trie, trie_of
from espalier.grammar.slice import Slice
from espalier.grammar.state import Outcome
from espalier.grammar.text import Language
from espalier.grammar.text_frame import Core, is_verbatim
from espalier.grammar.trie import TokenTrie

MOST_KEPT = 20_000  # cores of one frame


class EnumFrame:
    """All cores of one row of disjoint finite languages; one in the process. `outcomes` are by place in the trie."""

    def __init__(self, trie: Trie, outcomes: tuple[Outcome, ...]) -> None:
        self.trie, self.outcomes = trie, outcomes
        self.num_kept = 0

    def start(self) -> EnumCore:
        """Before the first byte."""
        return EnumCore(self, self.trie)


class EnumCore(Core):
    """See the module."""

    __slots__ = ("_frame", "node")

    def __init__(self, frame: EnumFrame, node: Trie) -> None:
        super().__init__()
        self._frame, self.node = frame, node

    def follow(self, byte: int) -> Core | None:
        """Kept up to a number: what is read is read again, but enums are long."""
        if self._frame.num_kept >= MOST_KEPT:
            return self.make(byte)
        return super().follow(byte)

    def make(self, byte: int) -> Core | None:
        """One step in the trie."""
        child = self.node.child(byte)
        if child is None:
            return None
        self._frame.num_kept += 1
        return EnumCore(self._frame, child)

    def leads_on(self, text: bytes) -> bool:
        """By the trie."""
        following = self.node.next_bytes
        return any(byte in following for byte in text)

    def outcome(self) -> Outcome | None:
        """The language of the text that ends here."""
        return None if self.node.place < 0 else self._frame.outcomes[self.node.place]

    def completion(self) -> tuple[bytes, Outcome]:
        """The shortest rest."""
        rest, place = min(self.node.rests(), key=lambda pair: (len(pair[0]), pair[0]))
        return rest, self._frame.outcomes[place]

    def content(self) -> bytes:
        """The bytes with which the texts go on."""
        following: Collection[int] = self.node.next_bytes
        return bytes(following)

    def slice(self, trie: TokenTrie, node: int) -> Slice:
        """What lies below a node of a trie of tokens."""
        paths = name_paths(trie, node, self.node)
        inside = np.array([node for _, nodes in paths.groups for node in nodes], dtype=np.int32)
        ends = np.array([(quote, self._frame.outcomes[place]) for quote, place in paths.ends], dtype=np.int32)
        exits, none = ends.reshape(-1, 2), np.zeros(0, dtype=np.int32)
        return Slice(inside, None, exits[:, 0], exits[:, 1], None, none, none)

    @property
    def mask_key(self) -> Hashable:
        """The place in the trie."""
        return (self._frame, self.node)

    @property
    def key(self) -> Hashable:
        """The same."""
        return (self._frame, self.node)


@lru_cache(maxsize=2048)
def enum_frame(languages: tuple[Language, ...]) -> EnumFrame | None:
    """The frame of these languages, of which the outcome is the number; None unless all are finite and verbatim."""
    if not all(language is Language.NOTHING or language.operator == "literals" for language in languages):
        return None
    outcome_of: dict[str, Outcome] = {}
    for outcome, language in enumerate(languages):
        for text in language.texts if language is not Language.NOTHING else ():
            outcome_of.setdefault(text, outcome)
    if not outcome_of or not all(map(is_verbatim, outcome_of)):
        return None
    texts = sorted(outcome_of)
    return EnumFrame(trie_of(text.encode() for text in texts), tuple(outcome_of[text] for text in texts))
