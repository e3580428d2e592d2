"""What a string's state allows, whatever follows the string: made once for all grammars over a vocabulary."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from espalier.grammar.slice import Slice
from espalier.grammar.state import Outcome
from espalier.grammar.token_mask import Mask, allow, difference, forbid
from espalier.grammar.vocabulary import Tails, Vocabulary

MOST_COUNTED = 128  # code points: no token has more that matter


@dataclass(frozen=True, eq=False)
class TextBase:
    """All about a string's state, from the root of the vocabulary's trie, that does not depend on what follows it.

    `inside` allows the tokens that stay in the string. The others that may be allowed are `tokens`: at `places` of the
    tails' trie, behind a quote that ends the string with `outcomes`.
    """

    key: Hashable
    inside: np.ndarray
    tokens: np.ndarray
    places: np.ndarray
    outcomes: np.ndarray

    @cached_property
    def kinds(self) -> tuple[Outcome, ...]:
        """The outcomes that there are, ascending."""
        return tuple(np.unique(self.outcomes).tolist())

    @property
    def num_bytes(self) -> int:
        """What it takes by itself; arrays that it shares with others are not counted."""
        own = (part.nbytes for part in (self.inside, self.tokens, self.places, self.outcomes) if part.flags.writeable)
        return 500 + sum(own)

    def mask(self, live: dict[Outcome, np.ndarray]) -> Mask:
        """The mask over `inside`; `live` says for each outcome which tails may follow (bool by place)."""
        out = self.inside.copy()
        for outcome, tails in live.items():
            allowed = self.tokens[tails[self.places] & (self.outcomes == outcome)]
            allow(out, allowed)
        return difference(out, self.inside)


class Free:
    """What a free string allows, by code points: masks of strings of which only the length matters are put together."""

    def __init__(self, vocabulary: Vocabulary, tails: Tails, found: Slice) -> None:
        assert found.inside_counts is not None and found.counts is not None
        self._vocabulary, self._trie = vocabulary, vocabulary.trie
        order = np.argsort(found.inside_counts, kind="stable")
        self._nodes = found.inside[order]
        self._ends = np.searchsorted(found.inside_counts[order], np.arange(MOST_COUNTED + 1), side="right")
        self._ends[MOST_COUNTED] = order.size
        which, rows = tails.rows(found.exits)
        self._tokens, self._places = tails.tokens[rows], tails.places[rows]
        self._counts = np.minimum(found.counts, MOST_COUNTED)[which]
        self._outcomes = np.zeros(rows.size, dtype=np.int32)
        self._masks: dict[int, np.ndarray] = {}
        self.inside = self._up_to(MOST_COUNTED)
        for shared_part in (self._tokens, self._places, self._outcomes):
            shared_part.flags.writeable = False

    def _up_to(self, most: int) -> np.ndarray:
        """The packed mask of the tokens of so many code points at most that stay in the string."""
        found = self._masks.get(most)
        if found is None:
            nodes, end = self._nodes, self._ends[most]
            if most == MOST_COUNTED or end < nodes.size // 2:
                found = self._vocabulary.packed(self._trie.ids(nodes[:end]))
            else:
                found = self.inside.copy()
                forbid(found, self._trie.ids(nodes[end:]))
            found.flags.writeable = False
            self._masks[most] = found
        return found

    def base(self, key: Hashable, lives: np.ndarray, ends: np.ndarray) -> TextBase:
        """The base of a string that lives, and may end, after so many code points more: bool[MOST_COUNTED + 1] each."""
        most = int(np.flatnonzero(lives)[-1])
        if not lives[:most].all():
            raise AssertionError("a string that comes back to life")
        exits = np.flatnonzero(ends[self._counts])
        rows = self._tokens, self._places, self._outcomes
        if exits.size < rows[0].size:
            rows = self._tokens[exits], self._places[exits], self._outcomes[exits]
        return TextBase(key, self._up_to(most), *rows)
