"""Nondeterministic automata over code points, built from a pattern's syntax tree.

Node 0 is the end of a match. A node reads a code point of a set, or has free edges, or one that holds where an
assertion does (`^ $ \\b \\B`) or where what follows matches another pattern, or does not. Nodes from which no match
can end are not `alive`.
"""

from __future__ import annotations

from collections import deque

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.text.alphabet import Alphabet, partition
from espalier.grammar.text.code_points import WORD, Ranges
from espalier.grammar.text.tree import Alternation, Assertion, Class, Concat, Look, Repetition, Tree

ACCEPT = 0
FAR = 1 << 60


class Nfa:
    """See the module; `entry` is where a match begins."""

    def __init__(self, tree: Tree, max_nodes: int) -> None:
        self._max_nodes = max_nodes
        self.reads: list[tuple[int, int] | None] = []  # number of a set, and the node behind
        self.free: list[list[int]] = []
        self.guards: dict[int, tuple[str, int]] = {}
        self.looks: dict[int, tuple[int, int]] = {}  # number in `look_trees`, and the node behind
        self.look_trees: list[tuple[Tree, bool]] = []
        self._look_numbers: dict[Look, int] = {}
        self._sets: dict[Ranges, int] = {}
        self._node()
        self.entry = self._build(tree, ACCEPT)
        self.has_words = any(kind in "bB" for kind, _ in self.guards.values())
        self.alphabet, self.classes = self._partition()
        self.distance = self._distances()

    def _partition(self) -> tuple[Alphabet, list[tuple[int, ...]]]:
        """The alphabet, and for each set its classes; word characters are told apart where assertions ask for them."""
        return partition([*self._sets, *([WORD] if self.has_words or self.look_trees else [])])

    def is_alive(self, node: int) -> bool:
        """Whether a match can end from here."""
        return self.distance[node] < FAR

    def _node(self) -> int:
        if len(self.free) >= self._max_nodes:
            raise GrammarTooLargeError("pattern_nodes", self._max_nodes, "the automaton of a pattern")
        self.reads.append(None)
        self.free.append([])
        return len(self.free) - 1

    def _build(self, tree: Tree, then: int) -> int:
        """The node from which a tree leads to `then`."""
        if isinstance(tree, Concat):
            for item in reversed(tree.items):
                then = self._build(item, then)
            return then
        if isinstance(tree, Repetition):
            return self._repetition(tree, then)
        if isinstance(tree, Alternation):
            targets = [self._build(option, then) for option in tree.options]
            node = self._node()
            self.free[node].extend(dict.fromkeys(targets))
            return node
        node = self._node()
        if isinstance(tree, Class):
            self.reads[node] = (self._sets.setdefault(tree.ranges, len(self._sets)), then)
        elif isinstance(tree, Assertion):
            self.guards[node] = (tree.kind, then)
        else:
            self.looks[node] = (self._look_numbers.setdefault(tree, len(self.look_trees)), then)
            if len(self._look_numbers) > len(self.look_trees):
                self.look_trees.append((tree.inner, tree.positive))
        return node

    def _repetition(self, tree: Repetition, then: int) -> int:
        if tree.most is None:
            loop = self._node()
            self.free[loop].append(then)
            self.free[loop].append(self._build(tree.item, loop))
            then = loop
        else:
            end = then
            for _ in range(tree.most - tree.least):
                node = self._node()
                self.free[node].append(end)
                self.free[node].append(self._build(tree.item, then))
                then = node
        for _ in range(tree.least):
            then = self._build(tree.item, then)
        return then

    def _distances(self) -> list[int]:
        """The fewest code points from each node to the end of a match, `^` no longer holding, and looks and words
        taken to hold.

        `$` holds only where nothing but the end follows.
        """
        backward: list[list[tuple[int, int, bool]]] = [[] for _ in self.free]
        for node, targets in enumerate(self.free):
            for target in targets:
                backward[target].append((node, 0, True))
        for node, (_, target) in self.looks.items():
            backward[target].append((node, 0, True))
        for node, (kind, target) in self.guards.items():
            if kind != "^":
                backward[target].append((node, 0, kind != "$"))
        for node, read in enumerate(self.reads):
            if read is not None and self.classes[read[0]]:
                backward[read[1]].append((node, 1, True))
        distance = [FAR] * len(self.free)
        distance[ACCEPT] = 0
        reached = deque([ACCEPT])
        while reached:
            target = reached.popleft()
            for node, weight, anywhere in backward[target]:
                far = distance[target] + weight
                if far < distance[node] and (anywhere or distance[target] == 0):
                    distance[node] = far
                    if weight:
                        reached.append(node)
                    else:
                        reached.appendleft(node)
        return distance
