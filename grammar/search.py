"""Whether any value has a shape, and a short one that has: witnesses.

Everything that the grammar allows rests on this: a byte is allowed only if a witness for the rest exists. The search
runs over the same derivatives that reading uses; conjunctions without interaction, which is nearly all of practice, are
decided member by member. Recursive schemas have the least fixpoint: a value that would have to contain itself does not
exist. A search that takes more than `limits.search_steps` is refused by name, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import TypeVar

from espalier.grammar.atom import Values, formula_languages, formula_names, settled_at
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.formula import FALSE, TRUE, Formula, Space
from espalier.grammar.formula import Kind as Connective
from espalier.grammar.item_search import ItemSearch, Texts
from espalier.grammar.kind import Kind
from espalier.grammar.limits import Limits
from espalier.grammar.member_search import MemberSearch, Tail, spelled
from espalier.grammar.names import NameTable
from espalier.grammar.number_set import NumberSet
from espalier.grammar.number_spelling import Prefix
from espalier.grammar.rest import conjuncts, without
from espalier.grammar.schema import typed
from espalier.grammar.text import Language, text_machine
from espalier.grammar.value import Value, parse, to_value

Found = TypeVar("Found")
MAX_DEPTH = 64  # arrays and objects inside each other that a search goes into
_NEVER = MAX_DEPTH * MAX_DEPTH
_LITERALS = ((Kind.NULL, "null"), (Kind.TRUE, "true"), (Kind.FALSE, "false"))
_ANYTHING = "0"  # a value of the shape TRUE
_SHORT = 8  # bytes: nothing shorter is looked for


def _go_on() -> None:
    """No pause."""


class Search:
    """Finds witnesses for the formulas of one space, and remembers them there."""

    def __init__(self, space: Space, limits: Limits) -> None:
        self.space, self.limits = space, limits
        self.member_search, self.item_search = MemberSearch(self), ItemSearch(self)
        self._active: dict[Hashable, int] = {}
        self._lowest = _NEVER  # the outermost search in progress that a failure rested on
        self._steps = 0
        self.pause: Callable[[], None] = _go_on  # called often: see `compile_grammar`
        self.bounded = False  # whether only our own bounds on digits made something empty

    def value(self, shape: Formula) -> str | None:
        """A short value of a shape, as compact JSON; None if there is none."""
        if shape is TRUE:
            return _ANYTHING
        if shape is FALSE:
            return None
        return self._remember(shape, "value", lambda: self._value(shape))

    def value_of_kind(self, shape: Formula, kind: Kind) -> str | None:
        """A short value of a shape and a kind."""
        if shape is FALSE:
            return None
        return self._remember(shape, ("value", kind), lambda: self._value_of_kind(shape, kind))

    def members(self, formula: Formula, table: NameTable, forbidden: int) -> Tail | None:
        """Members that complete an object; None if none do. Bit i of `forbidden` excludes the i-th known name."""
        formula = without(self.space, formula, table, forbidden)
        if formula is FALSE:
            return None
        key = ("members", table, forbidden)
        return self._remember(formula, key, lambda: self.member_search.members(formula, table, forbidden))

    def items(self, formula: Formula, index: int) -> Texts | None:
        """Items that complete an array from an index on; None if none do."""
        if formula is FALSE:
            return None
        index = min(index, settled_at(formula))
        return self._remember(formula, ("items", index), lambda: self.item_search.items(formula, index))

    def table(self, formula: Formula) -> NameTable:
        """The names that a formula about objects treats apart."""
        cache = formula.remember()
        found = cache.get("table")
        if found is None:
            found = cache["table"] = NameTable(formula_names(formula), formula_languages(formula), self.limits)
        assert isinstance(found, NameTable)
        return found

    def _remember(self, formula: Formula, key: Hashable, search: Callable[[], Found | None]) -> Found | None:
        """Runs a search once. What failed only because it met itself higher up is not remembered."""
        cache = formula.remember()
        if key in cache:
            return cache[key]  # type: ignore[return-value]
        mark = (formula, key)
        if mark in self._active:
            self._lowest = min(self._lowest, self._active[mark])
            return None
        depth = len(self._active)
        if depth == 0:
            self._steps, self._lowest = 0, _NEVER
        if depth >= MAX_DEPTH * 2:
            raise GrammarTooLargeError("nesting", MAX_DEPTH, "arrays and objects that a value needs inside each other")
        self._active[mark] = depth
        outer, self._lowest = self._lowest, _NEVER
        try:
            found = search()
            if found is not None or self._lowest >= depth:
                cache[key] = found
            reached = _NEVER if found is not None or self._lowest >= depth else self._lowest
        finally:
            del self._active[mark]
            self._lowest = outer
        self._lowest = min(outer, reached)
        return found

    def is_empty(self, shape: Formula) -> bool:
        """Whether no value has a shape."""
        return self.value(shape) is None

    def step(self, weight: int = 1) -> None:
        """Counts one step of a search, or some."""
        self.pause()
        if not self._active:
            self._steps = 0
        self._steps += weight
        if self._steps > self.limits.search_steps:
            raise GrammarTooLargeError("search_steps", self.limits.search_steps, "the search for a value")

    def _value(self, shape: Formula) -> str | None:
        """Of the first kind that has one: what is cheap to find out comes first, and is short."""
        self.pause()
        excluded, rest = _excluded(self.space, shape)
        if excluded:
            found = self.value(rest)
            if found is None or to_value(parse(found)) not in excluded:
                return found
        found = self.value_of_kind(shape, Kind.NUMBER)
        if found is not None:
            return found
        for kind, text in _LITERALS:
            if typed(shape, kind, self.space):
                return text
        found = self.value_of_kind(shape, Kind.STRING)
        if found is not None:
            return found
        found = self.value_of_kind(shape, Kind.ARRAY)
        if found is not None and len(found) <= _SHORT:
            return found
        other = self.value_of_kind(shape, Kind.OBJECT)
        return other if found is None or (other is not None and len(other) < len(found)) else found

    def _value_of_kind(self, shape: Formula, kind: Kind) -> str | None:
        part = typed(shape, kind, self.space)
        if isinstance(part, NumberSet):
            return self._number(part)
        if isinstance(part, Language):
            return self._string(part)
        if not isinstance(part, Formula):
            return kind.value if part else None
        if kind is Kind.ARRAY:
            items = self.items(part, 0)
            return None if items is None else f"[{','.join(items)}]"
        if part is FALSE:
            return None
        table = self.table(part)
        members = self.members(part, table, 0)
        if members is None:
            return None
        return "{" + ",".join(f"{name}:{text}" for name, text in spelled(members, table, ())) + "}"

    def _string(self, language: Language) -> str | None:
        if language is Language.EVERY or language is Language.NOTHING:
            return '""' if language is Language.EVERY else None
        if language.operator == "literals":
            return json.dumps(min(language.texts, key=lambda text: (len(text), text)), ensure_ascii=False)
        machine = text_machine(language, self.limits)
        text = machine.witness(machine.start, 0)
        return None if text is None else json.dumps(text.decode(), ensure_ascii=False)

    def _number(self, numbers: NumberSet) -> str | None:
        if not numbers.pieces:
            return None
        tail = Prefix().completion(numbers)
        if tail is not None:
            return tail
        tail = Prefix().completion(numbers.negated())
        if tail is None:
            self.bounded = True
        return None if tail is None else f"-{tail}"


def _excluded(space: Space, shape: Formula) -> tuple[frozenset[Value], Formula]:
    """The values that a conjunction excludes by name, and what else it says."""
    parts = conjuncts(shape)
    named = [part for part in parts if part.kind is Connective.LITERAL and not part.positive]
    lists = [part for part in named if isinstance(part.atom, Values)]
    if not lists or len(lists) == len(parts):
        return frozenset(), shape
    values = frozenset(value for part in lists if isinstance(part.atom, Values) for value in part.atom.values)
    return values, space.all(part for part in parts if part not in lists)
