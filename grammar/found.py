"""What a walk of a trie found, and whom it asks on its way; see `explore`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from espalier.grammar.slice import Slice
from espalier.grammar.state import Outcome, State
from espalier.grammar.thread import Thread
from espalier.grammar.trie import TokenTrie
from espalier.grammar.vocabulary import Tails

Watch = frozenset[int]  # depths of frames that compare what they were not told
UNWATCHED: Watch = frozenset()


@dataclass(slots=True)
class Found:
    """What a walk came to: nodes, or tokens by themselves; and what it could not say.

    `is_sensitive`: what is found may be wrong, and a walk that knows what was read has to be made; this one breaks off.
    """

    nodes: list[int] = field(default_factory=list)
    slices: list[np.ndarray] = field(default_factory=list)
    tokens: list[np.ndarray] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)  # nodes at and below which nothing is decided
    doubtful_tokens: list[np.ndarray] = field(default_factory=list)
    is_sensitive: bool = False

    @property
    def is_listed(self) -> bool:
        """Whether nothing was found but nodes by themselves, and all is said of them."""
        return not (self.slices or self.tokens or self.doubtful or self.doubtful_tokens)

    def all_nodes(self) -> np.ndarray:
        """The nodes found, in no order."""
        nodes = np.array(self.nodes, dtype=np.int32)
        return np.concatenate([nodes, *self.slices]) if self.slices else nodes


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """What may follow a string, by place of the tails' trie: bool each.

    `number` is that of the set of live places; `doubtful` ones take knowledge of what was read. `num_ended` frames
    ended on the way, the string's own one included.
    """

    number: int
    live: np.ndarray
    doubtful: np.ndarray | None
    is_sensitive: bool
    num_ended: int


class Quotes(Protocol):
    """Where a walk of the vocabulary asks what may stand behind the quote that ends a string."""

    @property
    def tails(self) -> Tails:
        """What tokens say behind quotes."""
        ...

    def rest(self, thread: Thread, outcome: Outcome, watch: Watch) -> Rest:
        """What may follow the thread's string."""
        ...


class Slices(Protocol):
    """Where slices are kept."""

    def get(self, trie: TokenTrie, node: int, state: State) -> Slice:
        """The slice of a leaf state below a node."""
        ...
