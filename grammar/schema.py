"""Schemas as formulas: what each subschema says about each kind of value.

A `Schema` is a place in a document together with the dynamic scope in which it was reached. It is an atom of formulas
over values; `part` is what it says about one kind. Keywords that apply another schema to the same value are combined
in the kind's own algebra; schemas of members and items stay atoms inside `Members` and `Items`, so recursion is
harmless there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

from espalier.grammar.atom import Cover, ExactArray, ExactObject, Values
from espalier.grammar.errors import GrammarTooLargeError, SchemaError
from espalier.grammar.formula import FALSE, TRUE, Formula, Space, atoms
from espalier.grammar.formula import Kind as Connective
from espalier.grammar.kind import Kind, Part, algebras, kind_of
from espalier.grammar.number_set import points
from espalier.grammar.text import Language
from espalier.grammar.value import Value

if TYPE_CHECKING:
    from espalier.grammar.compiler import Compiler
    from espalier.grammar.resource import Node

Scope = tuple[tuple[str, "Node"], ...]  # the outermost schema of each dynamic anchor
MAX_HEIGHT = 200  # schemas applied to one value, each by the one before
Applied = tuple["Cover", Formula]
_EVERY_KIND = frozenset(Kind)


class Schema:
    """A subschema in a dynamic scope; compared by identity, made by a `Compiler`."""

    __slots__ = (
        "_covers",
        "_parts",
        "applied",
        "applies",
        "assertions",
        "compiler",
        "evaluates",
        "height",
        "kinds",
        "node",
        "scope",
        "typed_applied",
    )

    def __init__(self, compiler: Compiler, node: Node, scope: Scope) -> None:
        self.compiler, self.node, self.scope = compiler, node, scope
        self.kinds = _EVERY_KIND  # that `type` allows
        # Of this schema's own keywords; a function where other schemas have to be read before.
        self.assertions: dict[Kind, list[Part | Callable[[], Part]]] = {}
        self.applied: list[Formula] = []  # over schemas, which the same value has to satisfy
        self.typed_applied: list[tuple[Kind, str, Formula]] = []  # of dependentSchemas: kind, name, schema
        # What else evaluates members and items, and if which schemas hold.
        self.evaluates: list[tuple[Formula, tuple[Formula, ...], str | None]] = []
        self._parts: dict[Kind, Part] = {}
        self._covers: dict[tuple[Kind, bool], tuple[Applied, ...]] = {}
        self.applies: tuple[Schema, ...] = ()  # the schemas in `applied` and `typed_applied`
        self.height = -1  # the longest chain of schemas applied to the same value, -1 if not yet known

    def __repr__(self) -> str:
        return f"<{self.node.document.rsplit('/', 1)[-1]}#{self.node.path}>"

    def settle(self) -> None:
        """To be called when all keywords have been read: what it applies to the same value is known."""
        formulas = [*self.applied, *(formula for _, _, formula in self.typed_applied)]
        formulas.extend(formula for formula, _, _ in self.evaluates)
        self.applies = tuple({atom for formula in formulas for atom in atoms(formula) if isinstance(atom, Schema)})

    def part(self, kind: Kind) -> Part:
        """What it says about values of a kind."""
        if kind not in self._parts:
            pending = [self]
            while pending:  # those that others apply come first, so a long chain needs no recursion
                top = pending[-1]
                before = [other for other in top.applies if kind not in other._parts] if kind in top.kinds else []
                pending.extend(before)
                if not before:
                    pending.pop()
                    top._parts[kind] = top._make_part(kind)
        return self._parts[kind]

    def _make_part(self, kind: Kind) -> Part:
        algebra = self.compiler.algebras[kind]
        if kind not in self.kinds:
            return algebra.bottom
        parts: list[Part] = [part() if callable(part) else part for part in self.assertions.get(kind, ())]
        parts.extend(self.compiler.typed(formula, kind) for formula in self.applied)
        for applied_kind, name, formula in self.typed_applied:
            if applied_kind is kind:
                parts.append(algebra.any([self.compiler.absent(name), self.compiler.typed(formula, kind)]))
        if kind in (Kind.ARRAY, Kind.OBJECT):
            unevaluated = self.compiler.unevaluated(self, kind)
            if unevaluated is not None:
                parts.append(unevaluated)
        found: Part = algebra.all(parts)
        return found

    def covers(self, kind: Kind, with_unevaluated: bool = True) -> tuple[Applied, ...]:
        """What it and the schemas that it applies evaluate, each with the formula that has to hold for that."""
        key = (kind, with_unevaluated)
        found = self._covers.get(key)
        if found is None:
            found = self._covers[key] = tuple(self._make_covers(kind, with_unevaluated))
        return found

    def _make_covers(self, kind: Kind, with_unevaluated: bool) -> Iterator[Applied]:
        own = self.compiler.own_cover(self, kind, with_unevaluated)
        if own is not None:
            yield own, TRUE
        space = self.compiler.space
        for target, conditions, present in self.evaluates:
            if present is not None and kind is not Kind.OBJECT:
                continue
            condition: list[Any] = [self.compiler.typed(formula, kind) for formula in conditions]
            if present is not None:
                condition.append(space.invert(self.compiler.absent(present)))
            for cover, formula in self.compiler.covers(target, kind):
                held = space.all([*condition, formula])
                if held is not FALSE:
                    yield cover, held


def part_of_values(values: frozenset[Value], kind: Kind, space: Space) -> Part:
    """What `enum` and `const` say about a kind."""
    here = [value for value in values if kind_of(value) is kind]
    if kind is Kind.NUMBER:
        return points(value for value in here if not isinstance(value, str | tuple | frozenset))  # type: ignore[misc]
    if kind is Kind.STRING:
        return Language.literals(str(value) for value in here) if here else Language.NOTHING
    if kind is Kind.ARRAY:
        return space.any(space.atom(ExactArray(value)) for value in here if isinstance(value, tuple))
    if kind is Kind.OBJECT:
        return space.any(
            space.atom(ExactObject(tuple(sorted(value, key=_name)))) for value in here if isinstance(value, frozenset)
        )
    return bool(here)


def _name(pair: tuple[str, Value]) -> str:
    return pair[0]


def typed(formula: Formula, kind: Kind, space: Space) -> Part:
    """What a formula over schemas and values says about one kind."""
    cache: dict[Hashable, object] = formula.remember()
    found = cache.get(kind)
    if found is None:
        found = cache[kind] = _typed(formula, kind, space)
    return found  # type: ignore[return-value]


def _typed(formula: Formula, kind: Kind, space: Space) -> Part:
    algebra = algebras(space)[kind]
    if formula.kind is Connective.CONSTANT:
        return algebra.top if formula is TRUE else algebra.bottom
    if formula.kind is Connective.LITERAL:
        if not formula.positive:
            inverted: Part = algebra.invert(typed(space.invert(formula), kind, space))
            return inverted
        atom = formula.atom
        if isinstance(atom, Values):
            return part_of_values(atom.values, kind, space)
        assert isinstance(atom, Schema)
        return atom.part(kind)
    combine = algebra.all if formula.kind is Connective.ALL else algebra.any
    combined: Part = combine(typed(part, kind, space) for part in formula.parts)
    return combined


def refuse_loops(schema: Schema) -> None:
    """SchemaError if a schema applies itself to the same value.

    GrammarTooLargeError if a chain of schemas is too long.
    """
    path: dict[Schema, list[Schema]] = {}
    pending = [schema] if schema.height < 0 else []
    while pending:
        top = pending[-1]
        if top not in path:
            path[top] = [other for other in top.applies if other.height < 0]
        if path[top]:
            other = path[top].pop()
            if other in path:
                raise SchemaError("a reference leads back to itself without reading any value", other.node.path)
            if other.height < 0:
                pending.append(other)
            continue
        del path[top]
        pending.pop()
        top.height = 1 + max((other.height for other in top.applies), default=0)
        if top.height > MAX_HEIGHT:
            raise GrammarTooLargeError("nesting", MAX_HEIGHT, f"schemas that apply each other, at {top.node.path}")
