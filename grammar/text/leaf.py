"""Deterministic automata that Boolean formulas about strings are made of, over classes of code points.

A leaf state is an int. DEAD never accepts, whatever follows; FULL always does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.limits import Limits
from espalier.grammar.text.alphabet import Alphabet, partition
from espalier.grammar.text.nfa import FAR

DEAD, FULL = -1, -2
NODES_A_STATE = 100  # on an average
Row = tuple[int, dict[int, int]]  # the state behind any class, and behind those classes where it is another one
Graph = tuple[
    list[list[int]], list[bool]
]  # the nodes behind each node after one code point, and whether a text may end in it


class Leaf(ABC):
    """See the module; `spread` is the greatest distance of any state that can accept."""

    alphabet: Alphabet
    start: int
    is_exact: bool
    spread: int

    @abstractmethod
    def row(self, state: int) -> Row:
        """The states behind the classes."""

    @abstractmethod
    def accepts(self, state: int) -> bool:
        """Whether the text may end here."""

    @abstractmethod
    def distance(self, state: int) -> int:
        """The fewest code points that can complete the text, FAR if none can: exact if `is_exact`, else no more
        than that.
        """

    def graph(self) -> Graph:
        """If `is_exact`: nodes such that a state's completions are as long as those of its nodes."""
        raise NotImplementedError

    def nodes(self, state: int) -> Sequence[int]:
        """The nodes of a state in `graph`."""
        raise NotImplementedError

    def follow(self, state: int, kind: int) -> int:
        """The state behind a class."""
        if state in (DEAD, FULL):
            return state
        rest, others = self.row(state)
        return others.get(kind, rest)


class Budget:
    """What determinising one pattern may cost: states, and nodes looked at for them."""

    def __init__(self, limits: Limits) -> None:
        self._most = self._states = limits.pattern_states
        self._nodes = limits.pattern_states * NODES_A_STATE

    def spend(self, num_states: int, num_nodes: int) -> None:
        """GrammarTooLargeError where that is more than is left."""
        self._states -= num_states
        self._nodes -= num_nodes
        if self._states < 0 or self._nodes < 0:
            raise GrammarTooLargeError("pattern_states", self._most, "the automaton of a pattern")


class LiteralsLeaf(Leaf):
    """A finite set of texts, as a trie."""

    is_exact = True

    def __init__(self, texts: Iterable[str]) -> None:
        known = sorted(texts)
        chars = sorted({char for text in known for char in text})
        self.alphabet, inside = partition([((ord(char), ord(char)),) for char in chars])
        kinds = {char: classes[0] for char, classes in zip(chars, inside, strict=True)}
        self._children: list[dict[int, int]] = [{}]
        self._final: set[int] = set()
        for text in known:
            self._add([kinds[char] for char in text])
        self._distances = self._count()
        self.spread = max((far for far in self._distances if far < FAR), default=0)
        self.start = 0 if self._final else DEAD

    def _add(self, kinds: list[int]) -> None:
        node = 0
        for kind in kinds:
            child = self._children[node].get(kind)
            if child is None:
                child = self._children[node][kind] = len(self._children)
                self._children.append({})
            node = child
        self._final.add(node)

    def _count(self) -> list[int]:
        found = [FAR] * len(self._children)
        for node in range(len(self._children) - 1, -1, -1):  # children come behind their parents
            below = min((found[child] + 1 for child in self._children[node].values()), default=FAR)
            found[node] = 0 if node in self._final else below
        return found

    def row(self, state: int) -> Row:
        """The children."""
        return DEAD, self._children[state]

    def accepts(self, state: int) -> bool:
        """Whether a text ends here."""
        return state in self._final

    def distance(self, state: int) -> int:
        """To the next end of a text."""
        return FAR if state == DEAD else self._distances[state]

    def graph(self) -> Graph:
        """The trie."""
        return [list(children.values()) for children in self._children], [
            n in self._final for n in range(len(self._children))
        ]

    def nodes(self, state: int) -> Sequence[int]:
        """The state itself."""
        return (state,)
