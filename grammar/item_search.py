"""The search for items that complete an array.

Where all items have to differ, or must not, what is left after an item depends on its value. `classes` divides a shape
so that one value of each class stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from espalier.grammar.atom import (
    Contains,
    Count,
    ExactArray,
    Item,
    Items,
    Unique,
    Values,
    derive,
    formula_atoms,
    settled_at,
)
from espalier.grammar.choice import Branch, Vector, close, is_open, split, unseen
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.formula import FALSE, TRUE, Formula, Kind
from espalier.grammar.kind import Kind as ValueKind
from espalier.grammar.number_set import NumberSet, is_infinite
from espalier.grammar.rest import at_end, conjuncts, disjuncts, has_negated, least_of, num_needed
from espalier.grammar.schema import typed
from espalier.grammar.text import Language, text_machine
from espalier.grammar.value import Value, parse, to_value

if TYPE_CHECKING:
    from espalier.grammar.search import Search

Texts = tuple[str, ...]  # items as JSON
FEW = 64  # arrays and objects of a shape that are counted at most
LATER_SHAPES = 6  # by which values are divided where items must not all differ


class ItemSearch:
    """See the module; `search` finds values and remembers."""

    def __init__(self, search: Search) -> None:
        self._search, self._space, self._limits = search, search.space, search.limits
        self._repeating: set[Formula] = set()  # formulas without what was seen, in progress

    def items(self, formula: Formula, index: int) -> Texts | None:
        """Items that complete an array from an index on; None if none do."""
        if at_end(formula):
            return ()
        simple = self._plain(formula, index)
        if simple is not None:
            return simple[0]
        done: list[str] = []
        while not at_end(formula):
            self._search.step()
            arms = disjuncts(self._space, formula)
            if arms is not None:
                found = (self._search.items(arm, index) for arm in arms)
                rest = next((tail for tail in found if tail is not None), None)
                return None if rest is None else (*done, *rest)
            settled = settled_at(formula)
            branches = split(
                self._space, (derive(self._space, formula, Item(index)),), self._limits.verdicts, self._search
            )
            if index >= settled:
                branches = tuple(branch for branch in branches if self._gains(formula, branch[1][0]))
            if len(branches) == 1 and not is_open(branches[0][1][0]):
                text = self._search.value(branches[0][0])
                if text is None:
                    return None
                done.append(text)
                formula, index = branches[0][1][0], index + 1
                continue
            rest = self._after(formula, branches, index)
            return None if rest is None else (*done, *rest)
        return tuple(done)

    def _after(self, formula: Formula, branches: Iterable[Branch], index: int) -> Texts | None:
        """An item and what completes the array behind it."""
        mark = self._without_seen(formula)
        is_first = mark not in self._repeating
        self._repeating.add(mark)
        try:
            for text, (left,) in self.candidates(branches, index):
                rest = self._search.items(left, index + 1)
                if rest is not None:
                    return (text, *rest)
        finally:
            if is_first:
                self._repeating.discard(mark)
        return None

    def _gains(self, before: Formula, after: Formula) -> bool:
        """Whether an item where all are alike brings the end nearer.

        One that is only one more value to differ from does not; where some have to be equal, the first such does.
        """
        mark = self._without_seen(before)
        if self._without_seen(after) is not mark:
            return True
        return mark not in self._repeating and has_negated(before, Unique)

    def _without_seen(self, formula: Formula) -> Formula:
        """The formula as if no item had come yet, as far as uniqueness goes."""
        cache = formula.remember()
        if "unseen" not in cache:
            cache["unseen"] = unseen(self._space, formula)
        found = cache["unseen"]
        assert isinstance(found, Formula)
        return found

    def candidates(self, branches: Iterable[Branch], index: int) -> Iterator[tuple[str, Vector]]:
        """Values for an item and what is left after each: several where the rest depends on the value itself."""
        for shape, left in sorted(branches, key=lambda branch: min(map(num_needed, branch[1]))):
            if not any(map(is_open, left)):
                text = self._search.value(shape)
                if text is not None:
                    yield text, left
                continue
            for part in self.classes(shape, left, index + 1):
                text = self._search.value(part)
                if text is not None:
                    value = to_value(parse(text))
                    yield text, tuple(close(self._space, formula, value) for formula in left)

    def classes(self, shape: Formula, vector: Vector, index: int) -> list[Formula]:
        """A shape divided so that all values of a part leave as much to the items from an index on.

        Values to which those are limited count one by one, all others by the shapes of later items where one of those
        has to repeat them.
        """
        needed = max(map(num_needed, vector))
        scarce = self.scarce_values(vector, index, needed)
        parts = [self._without(shape, scarce)]
        if any(has_negated(formula, Unique) for formula in vector):
            later = dict.fromkeys(s for s in self._later(vector, index, needed) if s is not TRUE and s is not FALSE)
            if len(later) > LATER_SHAPES:
                raise GrammarTooLargeError("verdicts", LATER_SHAPES, "shapes of items of which some have to be equal")
            for other in later:
                halves = [self._space.all([p, side]) for p in parts for side in (other, self._space.invert(other))]
                parts = [part for part in halves if self._search.value(part) is not None]
        parts.extend(self._space.all([shape, self._space.atom(Values(frozenset({value})))]) for value in scarce)
        return parts

    def _without(self, shape: Formula, values: Iterable[Value]) -> Formula:
        known = frozenset(values)
        return self._space.all([shape, self._space.invert(self._space.atom(Values(known)))]) if known else shape

    def _later(self, vector: Vector, index: int, most: int) -> Iterator[Formula]:
        """The shapes of so many items from an index on, and those with what `contains` asks for."""
        for formula in vector:
            atoms = formula_atoms(formula)
            found = [atom for atom in atoms if isinstance(atom, Items)]
            places = range(index, max([index, *(min(len(atom.prefix), index + most) for atom in found)]) + 1)
            contained = [atom.shape for atom in atoms if isinstance(atom, Contains)]
            for place in places:
                here = self._space.all(atom.at(place) for atom in found)
                yield here
                yield from (self._space.all([here, shape]) for shape in contained)

    def scarce_values(self, vector: Vector, index: int, most: int = FEW) -> dict[Value, None]:
        """The values to which items from an index on are limited, where those are `most` or fewer."""
        found: dict[Value, None] = {}
        if most:
            for shape in dict.fromkeys(self._later(vector, index, most)):
                found.update(dict.fromkeys(self._few_values(shape, most)))
            for atom in (atom for formula in vector for atom in formula_atoms(formula)):
                if isinstance(atom, ExactArray):
                    found.update(dict.fromkeys(atom.items))
        return found

    def _few_values(self, shape: Formula, most: int) -> tuple[Value, ...]:
        """All values of a shape, or none if they are more than `most`."""
        cache = shape.remember()
        key = ("few", most)
        if key not in cache:
            cache[key] = self._enumerated(shape, most)
        found = cache[key]
        assert isinstance(found, tuple)
        return found

    def _enumerated(self, shape: Formula, most: int) -> tuple[Value, ...]:
        if shape is TRUE:
            return ()
        strings, numbers = typed(shape, ValueKind.STRING, self._space), typed(shape, ValueKind.NUMBER, self._space)
        assert isinstance(strings, Language) and isinstance(numbers, NumberSet)
        if strings is Language.EVERY or is_infinite(numbers):
            return ()
        is_listed = strings.operator == "literals"
        if (len(strings.texts) if is_listed else text_machine(strings, self._limits).cardinality(most + 1)) > most:
            return ()
        found: dict[Value, None] = {}
        while len(found) <= most:
            text = self._search.value(self._without(shape, found))
            if text is None:
                return tuple(found)
            if len(found) >= FEW and text[0] in "[{":
                return ()
            found[to_value(parse(text))] = None
        return ()

    def _plain(self, formula: Formula, index: int) -> tuple[Texts | None] | None:
        """Decides conjunctions of `items`, counts and uniqueness; None if there is more to them."""
        found, least, most = list[Items](), 0, None
        unique: Unique | None = None
        for part in conjuncts(formula):
            if part.kind is not Kind.LITERAL or not part.positive:
                return None
            if isinstance(part.atom, Count):
                least = max(least, part.atom.least)
                most = least_of(most, part.atom.most)
            elif isinstance(part.atom, Items):
                found.append(part.atom)
            elif isinstance(part.atom, Unique) and unique is None:
                unique = part.atom
            else:
                return None
        if most is not None and most < least:
            return (None,)
        if least > self._limits.search_steps:
            raise GrammarTooLargeError("search_steps", self._limits.search_steps, f"{least} items")
        settled = settled_at(formula)
        if unique is not None:
            return self._distinct(found, index, least, unique)
        texts: list[str] = []
        while len(texts) < least:
            text = self._search.value(self._space.all(atom.at(index) for atom in found))
            if text is None:
                return (None,)
            texts.extend([text] * (1 if index < settled else least - len(texts)))
            index += 1
        return (tuple(texts),)

    def _distinct(self, found: list[Items], index: int, least: int, unique: Unique) -> tuple[Texts | None] | None:
        """Different items, each the first that is left: that fails for good only where all have one shape."""
        taken = dict.fromkeys(unique.seen)
        shapes = [self._space.all(atom.at(index + more) for atom in found) for more in range(least)]
        texts = []
        for shape in shapes:
            self._search.step()
            text = self._search.value(self._without(shape, taken))
            if text is None:
                return (None,) if all(other is shapes[0] for other in shapes) else None
            taken[to_value(parse(text))] = None
            texts.append(text)
        return (tuple(texts),)
