"""Patterns without looks and word boundaries, determinised on demand by sets of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from espalier.grammar.limits import Limits
from espalier.grammar.text.leaf import DEAD, FULL, Budget, Graph, Leaf, Row
from espalier.grammar.text.nfa import ACCEPT, FAR, Nfa


@dataclass(frozen=True, slots=True)
class Closure:
    """What free edges lead to: nodes that read, and whether a match ends here, or ends if the text does."""

    readers: frozenset[int]
    is_match: bool
    is_match_at_end: bool


class PatternLeaf(Leaf):
    """The texts that an automaton matches from their start, whatever follows a match."""

    is_exact = True

    def __init__(self, nfa: Nfa, limits: Limits) -> None:
        self._nfa, self._budget = nfa, Budget(limits)
        self.alphabet = nfa.alphabet
        self.spread = max((far for far in nfa.distance if far < FAR), default=0)
        self._closures: dict[int, Closure] = {}
        self._ids: dict[tuple[frozenset[int], bool], int] = {}
        self._states: list[tuple[frozenset[int], bool]] = []
        self._behind: dict[frozenset[int], int] = {}
        self._rows: list[Row | None] = []
        self.start = self._id([self._close(nfa.entry, True)])

    def inside(self) -> int:
        """The state of a match that begins inside the text, where `^` does not hold."""
        return self._id([self._closure(self._nfa.entry)])

    def _id(self, closures: Iterable[Closure]) -> int:
        known = list(closures)
        if any(closure.is_match for closure in known):
            return FULL
        readers = known[0].readers if len(known) == 1 else frozenset().union(*(closure.readers for closure in known))
        key = (readers, any(closure.is_match_at_end for closure in known))
        if key == (frozenset(), False):
            return DEAD
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self._states)
            self._budget.spend(1, len(readers))
            self._states.append(key)
            self._rows.append(None)
        return found

    def _closure(self, node: int) -> Closure:
        found = self._closures.get(node)
        if found is None:
            found = self._closures[node] = self._close(node, False)
        return found

    def _close(self, node: int, at_start: bool) -> Closure:
        nfa = self._nfa
        held = ("^",) if at_start else ()
        inner = self._reached([node], held)
        self._budget.spend(0, len(inner))
        ends = [nfa.guards[n][1] for n in inner if n in nfa.guards and nfa.guards[n][0] == "$"]
        at_end = ACCEPT in inner or (bool(ends) and ACCEPT in self._reached(ends, (*held, "$")))
        readers = frozenset(n for n in inner if nfa.reads[n] is not None and nfa.is_alive(n))
        return Closure(readers, ACCEPT in inner, at_end)

    def _reached(self, nodes: list[int], held: tuple[str, ...]) -> set[int]:
        nfa = self._nfa
        seen, pending = set(nodes), list(nodes)
        while pending:
            node = pending.pop()
            targets = nfa.free[node]
            if node in nfa.guards and nfa.guards[node][0] in held:
                targets = [nfa.guards[node][1]]
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return seen

    def row(self, state: int) -> Row:
        """Made by the sets that its nodes read: classes that are in the same sets lead to the same state."""
        found = self._rows[state]
        if found is None:
            found = self._rows[state] = self._make(state)
        return found

    def _make(self, state: int) -> Row:
        targets: dict[int, list[int]] = {}
        for node in self._states[state][0]:
            read = self._nfa.reads[node]
            assert read is not None
            targets.setdefault(read[0], []).append(read[1])
        sets: dict[int, list[int]] = {}
        for number in targets:
            for kind in self._nfa.classes[number]:
                sets.setdefault(kind, []).append(number)
        made: dict[tuple[int, ...], int] = {}
        states = {}
        for kind, numbers in sets.items():
            key = tuple(numbers)
            if key not in made:
                made[key] = self._after(frozenset(target for number in numbers for target in targets[number]))
            states[kind] = made[key]
        rest = states.get(self.alphabet.rest, DEAD)
        if rest != DEAD:
            states.update((kind, DEAD) for kind in range(self.alphabet.num_classes) if kind not in states)
        return rest, {kind: after for kind, after in states.items() if after != rest}

    def _after(self, targets: frozenset[int]) -> int:
        found = self._behind.get(targets)
        if found is None:
            found = self._behind[targets] = self._id([self._closure(target) for target in targets])
        return found

    def accepts(self, state: int) -> bool:
        """Whether a match may end at the end of the text."""
        return state == FULL or (state != DEAD and self._states[state][1])

    def distance(self, state: int) -> int:
        """That of the nearest node."""
        if state in (DEAD, FULL):
            return 0 if state == FULL else FAR
        readers, may_end = self._states[state]
        return 0 if may_end else min(self._nfa.distance[node] for node in readers)

    def graph(self) -> Graph:
        """The nodes that read, the end of a match, behind which anything may follow, and the end of the text."""
        end = len(self._nfa.free)
        behind: list[list[int]] = [[] for _ in range(end + 1)]
        for node, read in enumerate(self._nfa.reads):
            if read is not None and self._nfa.is_alive(node):
                closure = self._closure(read[1])
                behind[node] = [*closure.readers, *self._ends(closure)]
        behind[ACCEPT] = [ACCEPT]
        return behind, [node in (ACCEPT, end) for node in range(end + 1)]

    def _ends(self, closure: Closure) -> list[int]:
        return [ACCEPT] if closure.is_match else [len(self._nfa.free)] if closure.is_match_at_end else []

    def nodes(self, state: int) -> Sequence[int]:
        """The nodes of a state, and the ends that it has reached."""
        if state == FULL:
            return (ACCEPT,)
        readers, may_end = self._states[state]
        return [*readers, len(self._nfa.free)] if may_end else list(readers)
