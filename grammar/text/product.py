"""The product of a language's leaves: states are numbered tuples of leaf states, made on demand.

It reads classes of code points and knows no lengths. What a formula has become in a state is known as far as leaves
are DEAD or FULL.
"""

from __future__ import annotations

from functools import lru_cache

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.limits import Limits
from espalier.grammar.text.alphabet import joint, partition
from espalier.grammar.text.cell import Cell, Formula
from espalier.grammar.text.code_points import ALL
from espalier.grammar.text.context_leaf import pattern_leaf
from espalier.grammar.text.language import Language
from espalier.grammar.text.leaf import DEAD, FULL, Leaf, LiteralsLeaf, Row
from espalier.grammar.text.nfa import FAR, Nfa
from espalier.grammar.text.tree import Class, Repetition, Tree, begins_at_start, joined

NOWHERE = -1
_ANYTHING = Repetition(Class(ALL), 0, None)


class Product:
    """See the module; state NOWHERE is where no cell's formula can hold any more."""

    def __init__(self, language: Language, cells: list[Cell], limits: Limits) -> None:
        self.limits, self.cells = limits, cells
        self.places: dict[Language, int] = {}
        self.leaves: list[Leaf] = []
        for atom in language.atoms():
            if atom.operator in ("pattern", "literals"):
                self.places[atom] = len(self.leaves)
                self.leaves.append(_leaf(atom, limits))
        self._joint = joint(tuple(leaf.alphabet for leaf in self.leaves) or (partition([])[0],))
        self.alphabet = self._joint.alphabet
        self._ids: dict[tuple[int, ...], int] = {}
        self._states: list[tuple[int, ...]] = []
        self._rows: list[Row | None] = []
        self.start = self._id(tuple(leaf.start for leaf in self.leaves))

    def _id(self, state: tuple[int, ...]) -> int:
        found = self._ids.get(state)
        if found is None:
            is_open = any(self._evaluate(cell.formula, state) is not False for cell in self.cells)
            if is_open and len(self._states) >= self.limits.pattern_states:
                raise GrammarTooLargeError("pattern_states", self.limits.pattern_states, "the automaton of a string")
            found = self._ids[state] = len(self._states) if is_open else NOWHERE
            if is_open:
                self._states.append(state)
                self._rows.append(None)
        return found

    def leaf_state(self, state: int, place: int) -> int:
        """The state of one leaf."""
        return self._states[state][place]

    def row(self, state: int) -> Row:
        """The states behind the classes, whether they live or not."""
        found = self._rows[state]
        if found is None:
            found = self._rows[state] = self._make(self._states[state])
        return found

    def _make(self, state: tuple[int, ...]) -> Row:
        rows: list[Row] = [
            (at, {}) if at in (DEAD, FULL) else leaf.row(at) for leaf, at in zip(self.leaves, state, strict=True)
        ]
        rest = self._id(tuple(row[0] for row in rows))
        if len(rows) == 1:
            others = {kind: self._id((after,)) for kind, after in rows[0][1].items()}
        else:
            others = {}
            classes_of = self._joint.classes_of
            for kind in {kind for place, row in enumerate(rows) for own in row[1] for kind in classes_of[place][own]}:
                inside = self._joint.parts_of[kind]
                others[kind] = self._id(tuple(row[1].get(own, row[0]) for row, own in zip(rows, inside, strict=True)))
        return rest, {kind: after for kind, after in others.items() if after != rest}

    def behind(self, state: int) -> set[int]:
        """The states behind any code point."""
        rest, others = self.row(state)
        found = set(others.values())
        if self.alphabet.rest not in others:
            found.add(rest)
        found.discard(NOWHERE)
        return found

    def residual(self, state: int, formula: Formula) -> bool | None:
        """What a formula has become: None if that is not decided."""
        return self._evaluate(formula, self._states[state])

    def _evaluate(self, formula: Formula, state: tuple[int, ...]) -> bool | None:
        if isinstance(formula, bool):
            return formula
        place = self.places.get(formula)
        if place is not None:
            return {DEAD: False, FULL: True}.get(state[place])
        values = [self._evaluate(part, state) for part in formula.parts]
        if formula.operator == "not":
            return None if values[0] is None else not values[0]
        return False if False in values else None if None in values else True

    def holds(self, state: int, formula: Formula) -> bool:
        """Whether a formula holds if the text ends here."""
        if isinstance(formula, bool):
            return formula
        place = self.places.get(formula)
        if place is not None:
            at = self._states[state][place]
            return at == FULL or (at != DEAD and self.leaves[place].accepts(at))
        if formula.operator == "not":
            return not self.holds(state, formula.parts[0])
        return all(self.holds(state, part) for part in formula.parts)

    def bound(self, state: int, formula: Formula) -> int:
        """A number of code points without which a formula cannot come to hold."""
        if isinstance(formula, bool):
            return 0 if formula else FAR
        place = self.places.get(formula)
        if place is not None:
            return self.leaves[place].distance(self._states[state][place])
        if formula.operator == "not":
            return FAR if self.residual(state, formula) is False else 0
        return max(self.bound(state, part) for part in formula.parts)

    def explored(self) -> list[int]:
        """All states, once they are made."""
        done = 0
        while done < len(self._states):
            self.row(done)
            done += 1
        return list(range(done))


@lru_cache(maxsize=1024)
def _leaf(atom: Language, limits: Limits) -> Leaf:
    """The leaf of a pattern or finite set: one in the process."""
    if atom.operator == "literals":
        return LiteralsLeaf(atom.texts)
    tree: Tree = atom.expression.tree
    if not begins_at_start(tree):
        tree = joined((_ANYTHING, tree))
    return pattern_leaf(Nfa(tree, limits.pattern_nodes), limits)
