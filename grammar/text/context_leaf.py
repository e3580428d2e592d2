"""Patterns with looks and word boundaries, determinised on demand by sets of threads.

A thread is a node with the states of the looks that were begun on the way to it. What came before a place matters for
`^` and words; what follows is known when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from espalier.grammar.limits import Limits
from espalier.grammar.text.alphabet import joint
from espalier.grammar.text.leaf import DEAD, FULL, Budget, Leaf, Row
from espalier.grammar.text.nfa import ACCEPT, FAR, Nfa
from espalier.grammar.text.pattern_leaf import PatternLeaf

Obligations = frozenset[tuple[int, int]]  # looks begun, and the states of their automata
Thread = tuple[int, Obligations]
AnyPatternLeaf: TypeAlias = "PatternLeaf | ContextLeaf"
_NONE: Obligations = frozenset()
_START, _OTHER, _AFTER_WORD = 0, 1, 2  # what comes before: the start, no word character, a word character


class ContextLeaf(Leaf):
    """The texts that an automaton matches from their start, whatever follows a match."""

    is_exact = False

    def __init__(self, nfa: Nfa, limits: Limits) -> None:
        self._nfa, self._budget = nfa, Budget(limits)
        self._looks = [pattern_leaf(Nfa(inner, limits.pattern_nodes), limits) for inner, _ in nfa.look_trees]
        self._signs = [positive for _, positive in nfa.look_trees]
        self._joint = joint((nfa.alphabet, *(look.alphabet for look in self._looks)))
        self.alphabet = self._joint.alphabet
        self.needs_words: bool = nfa.has_words or any(
            isinstance(look, ContextLeaf) and look.needs_words for look in self._looks
        )
        words = set(nfa.classes[-1])
        self._is_word = [inside[0] in words for inside in self._joint.parts_of]
        self._reads = [set(classes) for classes in nfa.classes]
        self.spread = max((far for far in nfa.distance if far < FAR), default=0)
        self._ids: dict[tuple[frozenset[Thread], int], int] = {}
        self._states: list[tuple[frozenset[Thread], int]] = []
        self._rows: dict[int, Row] = {}
        self.start = self.begin(_START)

    def begin(self, before: int) -> int:
        """The state of a match that begins behind the start, a word character, or another one."""
        return self._id({(self._nfa.entry, _NONE)}, before)

    def _id(self, threads: set[Thread], before: int) -> int:
        if before == _AFTER_WORD and not self.needs_words:
            before = _OTHER
        least = frozenset(_least(threads))
        if not least:
            return DEAD
        found = self._ids.get((least, before))
        if found is None:
            found = FULL if self._is_full(least) else len(self._states)
            self._ids[least, before] = found
            if found != FULL:
                self._budget.spend(1, len(least))
                self._states.append((least, before))
        return found

    def _is_full(self, threads: Iterable[Thread]) -> bool:
        """Whether a match ends here that owes nothing."""
        if not any(self._nfa.distance[node] == 0 and not owed for node, owed in threads):
            return False
        seen = {node for node, owed in threads if not owed}
        pending = list(seen)
        while pending:
            for target in self._nfa.free[pending.pop()]:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return ACCEPT in seen

    def _closure(self, state: int, word_next: bool | None) -> set[Thread]:
        """The threads before the next code point; `word_next` says whether it is a word's, None that the text ends."""
        threads, before = self._states[state]
        is_boundary = (before == _AFTER_WORD) != (word_next is True)
        holds = {"^": before == _START, "$": word_next is None, "b": is_boundary, "B": not is_boundary}
        seen = set(threads)
        pending = list(seen)
        while pending:
            self._budget.spend(0, 1)
            for thread in self._freely(pending.pop(), holds, before):
                if thread not in seen:
                    seen.add(thread)
                    pending.append(thread)
        return seen

    def _freely(self, thread: Thread, holds: dict[str, bool], before: int) -> Iterator[Thread]:
        node, owed = thread
        for target in self._nfa.free[node]:
            yield target, owed
        if node in self._nfa.guards:
            kind, target = self._nfa.guards[node]
            if holds[kind]:
                yield target, owed
        if node in self._nfa.looks:
            look, target = self._nfa.looks[node]
            begun = self._judged(look, _begun(self._looks[look], before))
            if begun is None:
                yield target, owed
            elif begun != DEAD:
                yield target, owed | {(look, begun)}

    def _judged(self, look: int, state: int) -> int | None:
        """A look's state; None if it holds whatever follows, DEAD if it cannot hold."""
        if state in (DEAD, FULL):
            return None if (state == FULL) is self._signs[look] else DEAD
        return state

    def row(self, state: int) -> Row:
        """Class by class."""
        found = self._rows.get(state)
        if found is None:
            closures = {word: self._closure(state, word) for word in set(self._is_word)}
            after = [self._after(closures[word], kind) for kind, word in enumerate(self._is_word)]
            rest = after[self.alphabet.rest]
            found = self._rows[state] = (rest, {kind: to for kind, to in enumerate(after) if to != rest})
        return found

    def _after(self, closure: set[Thread], kind: int) -> int:
        self._budget.spend(0, len(closure))
        own, *others = self._joint.parts_of[kind]
        targets: set[Thread] = set()
        for node, owed in closure:
            read = self._nfa.reads[node]
            if node == ACCEPT:  # a match has ended, looks that it began are still open
                target = ACCEPT
            elif read is not None and own in self._reads[read[0]] and self._nfa.is_alive(read[1]):
                target = read[1]
            else:
                continue
            left = self._moved(owed, others)
            if left is not None:
                targets.add((target, left))
        return self._id(targets, _AFTER_WORD if self._is_word[kind] else _OTHER)

    def _moved(self, owed: Obligations, kinds: list[int]) -> Obligations | None:
        """Looks one code point further; None if one of them failed."""
        after = set()
        for look, state in owed:
            judged = self._judged(look, self._looks[look].follow(state, kinds[look]))
            if judged == DEAD:
                return None
            if judged is not None:
                after.add((look, judged))
        return frozenset(after)

    def accepts(self, state: int) -> bool:
        """Whether a match may end at the end of the text, all looks holding."""
        if state in (DEAD, FULL):
            return state == FULL
        return any(
            node == ACCEPT and all(self._looks[look].accepts(at) is self._signs[look] for look, at in owed)
            for node, owed in self._closure(state, None)
        )

    def distance(self, state: int) -> int:
        """As if all looks and words held."""
        if state in (DEAD, FULL):
            return 0 if state == FULL else FAR
        threads, before = self._states[state]
        return 0 if before == _START else min(self._nfa.distance[node] for node, _ in threads)


def _begun(leaf: AnyPatternLeaf, before: int) -> int:
    if isinstance(leaf, ContextLeaf):
        return leaf.begin(before)
    return leaf.start if before == _START else leaf.inside()


def _least(threads: set[Thread]) -> Iterator[Thread]:
    """Without threads that owe more than another one at the same node."""
    owed_at: dict[int, list[Obligations]] = {}
    for node, owed in threads:
        owed_at.setdefault(node, []).append(owed)
    for node, several in owed_at.items():
        for owed in several:
            if not any(other < owed for other in several):
                yield node, owed


def pattern_leaf(nfa: Nfa, limits: Limits) -> AnyPatternLeaf:
    """The leaf of an automaton."""
    return ContextLeaf(nfa, limits) if nfa.looks or nfa.has_words else PatternLeaf(nfa, limits)
