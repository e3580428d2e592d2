"""From documents to formulas: makes each `Schema` once, follows references, and knows the dynamic scope."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import and_

from espalier.grammar import keyword as keywords
from espalier.grammar.atom import Cover, Required, Unevaluated, Values
from espalier.grammar.content import Contents
from espalier.grammar.dialect import Dialect, escape
from espalier.grammar.errors import GrammarTooLargeError, PatternError, SchemaError
from espalier.grammar.formats import format_language
from espalier.grammar.formula import FALSE, TRUE, Formula, Space
from espalier.grammar.kind import Kind, Part, algebras
from espalier.grammar.limits import Limits
from espalier.grammar.resource import Node, Resource, Resources
from espalier.grammar.schema import Applied, Schema, Scope, refuse_loops, typed
from espalier.grammar.text import Language, text_machine
from espalier.grammar.value import Json


@lru_cache(maxsize=64)
def _table(dialect: Dialect) -> dict[str, keywords.Handler]:
    return keywords.keywords(dialect.name, dialect.vocabularies)


@dataclass(frozen=True, slots=True)
class Formats:
    """Whether formats are assertions, and whether they yield to what contradicts them in the same schema."""

    are_asserted: bool = False
    can_yield: bool = False


class Compiler:
    """All schemas of one grammar; `space` makes their formulas."""

    def __init__(
        self,
        schema: Json,
        documents: Mapping[str, Json],
        dialect: Dialect | None,
        formats: Formats,
        limits: Limits,
        pause: Callable[[], None],
    ) -> None:
        self.space, self.limits = Space(), limits
        self._pause = pause
        self.algebras = algebras(self.space)
        self.enforced: set[str] = set()
        self.annotations: set[str] = set()
        self.ignored: set[str] = set()
        self._formats = formats
        self._resources = Resources(schema, documents, dialect, limits)
        self._contents = Contents()
        self._schemas: dict[Hashable, Formula] = {}
        self._unread: list[tuple[Schema, dict[str, Json]]] = []
        self._is_reading = False
        root = self._resources.root
        self.root = self.schema(root, self.enter((), root.resource))

    escape = staticmethod(escape)

    def dialect(self, schema: Schema) -> Dialect:
        """The dialect that a schema is written in."""
        return schema.node.resource.dialect

    def knows_keyword(self, schema: Schema, name: str) -> bool:
        """Whether the schema's dialect has a keyword."""
        return name in _table(self.dialect(schema))

    def beside(self, uri: str) -> Formula:
        """The root together with a document that was handed in, whose keywords are not the schema's."""
        enforced = set(self.enforced)
        node, _ = self._resources.resolve(uri, self._resources.root)
        both = self.space.all([self.root, self.schema(node, self.enter((), node.resource))])
        self.enforced = enforced
        return both

    def schema(self, node: Node, scope: Scope) -> Formula:
        """The formula that a value satisfies the schema at a place; one for all places that say the same."""
        self._pause()
        if isinstance(node.data, bool):
            if not node.resource.dialect.boolean_schemas and node.path == "":
                raise SchemaError("a schema of draft 4 is an object", node.path)
            return TRUE if node.data else FALSE
        if not isinstance(node.data, dict):
            raise SchemaError(f"a schema is an object or a boolean, not {type(node.data).__name__}", node.path)
        content = self._contents.of(node.data)
        key = (node.key, scope) if content is None else (node.resource, content, scope)
        found = self._schemas.get(key)
        if found is None:
            schema = Schema(self, node, scope)
            found = self._schemas[key] = self.space.atom(schema)
            if len(self._schemas) > self.limits.subschemas:
                raise GrammarTooLargeError("subschemas", self.limits.subschemas, "schemas in all their dynamic scopes")
            self._unread.append((schema, node.data))
            if not self._is_reading:
                self._read_all()
        return found

    def _read_all(self) -> None:
        """Reads schemas until none is left: those inside are queued, so depth costs no recursion."""
        self._is_reading = True
        try:
            read = []
            while self._unread:
                schema, data = self._unread.pop()
                self._pause()
                self._read(schema, data)
                schema.settle()
                read.append(schema)
            for schema in read:
                refuse_loops(schema)
        finally:
            self._is_reading = False

    def _read(self, schema: Schema, data: dict[str, Json]) -> None:
        table = _table(self.dialect(schema))
        if "$ref" in data and self.dialect(schema).ref_hides_siblings:
            self.ignored.update(name for name in data if name != "$ref")
            data = {"$ref": data["$ref"]}
        done: set[keywords.Handler] = set()
        # A format may yield to what stands beside it.
        for name in sorted(data, key="format".__eq__):
            handler, value = table.get(name), data[name]
            if handler is None:
                (self.annotations if name in keywords.ANNOTATIONS else self.ignored).add(name)
                continue
            if handler is not keywords.format_:
                self.enforced.add(name)
            if handler in (keywords.members, keywords.items):
                if handler in done:
                    continue
                done.add(handler)
            handler(self, schema, name, value)

    def child(self, schema: Schema, pointer: str, data: Json) -> Formula:
        """The formula of a schema inside another one."""
        node = schema.node.child(pointer, data, self._resources)
        scope = schema.scope if node.resource is schema.node.resource else self.enter(schema.scope, node.resource)
        return self.schema(node, scope)

    def enter(self, scope: Scope, resource: Resource) -> Scope:
        """The dynamic scope inside a resource: what is outermost stays."""
        known = {name for name, _ in scope}
        return (*scope, *((name, node) for name, node in resource.dynamic.items() if name not in known))

    def follow(self, schema: Schema, keyword: str, reference: str) -> Formula:
        """The target of a reference (Core 8.2.3)."""
        node, fragment = self._resources.resolve(reference, schema.node)
        if keyword == "$dynamicRef" and node.resource.dynamic.get(fragment, None) == node:
            node = dict(schema.scope).get(fragment, node)
        elif keyword == "$recursiveRef" and node.resource.dynamic.get("") == node:
            node = dict(schema.scope).get("", node)
        return self.schema(node, self.enter(schema.scope, node.resource))

    def target_path(self, schema: Schema, reference: str) -> str:
        """Where the target of a reference stands in its document."""
        return self._resources.resolve(reference, schema.node)[0].path

    def pattern(self, source: str, path: str) -> Language:
        """The strings in which a pattern is found."""
        try:
            return Language.pattern(source)
        except PatternError as error:
            raise PatternError(_reason(error), error.pattern, error.position, path) from None

    def format(self, name: str, schema: Schema) -> Language | None:
        """The strings of a format, None if it is an annotation. What stands beside it has been read."""
        vocabularies = self.dialect(schema).vocabularies
        must = vocabularies is not None and "format-assertion" in vocabularies
        language = format_language(name) if must or self._formats.are_asserted else None
        if language is None or must or not self._formats.can_yield:
            return language
        return None if self._is_contradicted(language, schema) else language

    def _is_contradicted(self, language: Language, schema: Schema) -> bool:
        """Whether a schema's pattern, lengths and values allow strings, and none of the format."""
        beside = [part for part in schema.assertions.get(Kind.STRING, ()) if isinstance(part, Language)]
        listed = [formula.atom.values for formula in schema.applied if isinstance(formula.atom, Values)]
        beside += [Language.literals(value for value in values if isinstance(value, str)) for values in listed]
        if not beside:
            return False
        allowed = reduce(and_, beside)
        is_empty = text_machine(allowed & language, self.limits).is_empty
        return is_empty and not text_machine(allowed, self.limits).is_empty

    def typed(self, formula: Formula, kind: Kind) -> Part:
        """What a formula over schemas says about a kind of value."""
        return typed(formula, kind, self.space)

    def absent(self, name: str) -> Formula:
        """The object does not have a member of that name."""
        return self.space.invert(self.space.atom(Required((name,))))

    def own_cover(self, schema: Schema, kind: Kind, with_unevaluated: bool) -> Cover | None:
        """What a schema's own keywords evaluate."""
        return keywords.own_cover(self, schema, kind, with_unevaluated)

    def covers(self, formula: Formula, kind: Kind) -> tuple[Applied, ...]:
        """What the schema that a formula names evaluates; nothing under a negation."""
        if isinstance(formula.atom, Schema) and formula.positive:
            return formula.atom.covers(kind)
        return ()

    def unevaluated(self, schema: Schema, kind: Kind) -> Formula | None:
        """`unevaluatedProperties` or `unevaluatedItems` of a schema (Core 11.2, 11.3)."""
        keyword = "unevaluatedProperties" if kind is Kind.OBJECT else "unevaluatedItems"
        data = schema.node.data
        if not isinstance(data, dict) or keyword not in data or not self.knows_keyword(schema, keyword):
            return None
        shape = self.child(schema, f"/{keyword}", data[keyword])
        if shape is TRUE:
            return None
        return self.space.atom(Unevaluated(shape, schema.covers(kind, with_unevaluated=False)))


def _reason(error: PatternError) -> str:
    text = str(error)
    return text[text.index(": ", text.index("position")) + 2 : text.rindex(" (at ")]
