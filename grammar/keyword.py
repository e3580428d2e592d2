"""JSON Schema's keywords: what each says, one function a keyword and one table, with the drafts that know it.

A function is given the compiler, the schema under construction and the keyword's value; it adds assertions about
kinds of values, or schemas that the same value has to satisfy. Keywords that belong together (`items` with
`prefixItems`, ...) are read by one function.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from espalier.grammar import number_set
from espalier.grammar.atom import Cover, Items, Members, Names, Unique, Values, contains, count, required
from espalier.grammar.errors import GrammarTooLargeError, SchemaError
from espalier.grammar.formula import FALSE, TRUE, Formula
from espalier.grammar.kind import Kind, Part
from espalier.grammar.schema import Schema
from espalier.grammar.text import Language
from espalier.grammar.value import Json, exact, to_value

if TYPE_CHECKING:
    from espalier.grammar.compiler import Compiler

Handler = Callable[["Compiler", Schema, str, Json], None]
_TYPES = {
    "null": frozenset({Kind.NULL}),
    "boolean": frozenset({Kind.TRUE, Kind.FALSE}),
    "number": frozenset({Kind.NUMBER}),
    "integer": frozenset({Kind.NUMBER}),
    "string": frozenset({Kind.STRING}),
    "array": frozenset({Kind.ARRAY}),
    "object": frozenset({Kind.OBJECT}),
}


def add(schema: Schema, kind: Kind, part: Part) -> None:
    """One more assertion about a kind."""
    schema.assertions.setdefault(kind, []).append(part)


def _wrong(schema: Schema, keyword: str, expected: str, value: Json) -> SchemaError:
    return SchemaError(f"{keyword} has to be {expected}, not {str(value)[:80]!r}", f"{schema.node.path}/{keyword}")


def _natural(schema: Schema, keyword: str, value: Json) -> int:
    number = None if isinstance(value, bool) or value is None or isinstance(value, str | list | dict) else exact(value)
    if isinstance(number, int) and number >= 0:
        return number
    raise _wrong(schema, keyword, "a whole number, 0 or more", value)


def _number(schema: Schema, keyword: str, value: Json) -> Fraction:
    if isinstance(value, bool) or value is None or isinstance(value, str | list | dict):
        raise _wrong(schema, keyword, "a number", value)
    return Fraction(exact(value))


def _strings(schema: Schema, keyword: str, value: Json) -> list[str]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return [str(name) for name in value]
    raise _wrong(schema, keyword, "a list of strings", value)


def _map(schema: Schema, keyword: str, value: Json) -> dict[str, Json]:
    if isinstance(value, dict):
        return value
    raise _wrong(schema, keyword, "an object", value)


def _list(schema: Schema, keyword: str, value: Json) -> list[Json]:
    if isinstance(value, list) and (value or keyword not in ("allOf", "anyOf", "oneOf")):
        return value
    raise _wrong(schema, keyword, "a list that is not empty", value)


def type_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.1.1: `1.0` is an integer (draft 4 too: JSON text has one kind of number)."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name in _TYPES for name in names):
        raise _wrong(schema, keyword, f"one of {', '.join(_TYPES)} or a list of them", value)
    schema.kinds = frozenset().union(*(_TYPES[str(name)] for name in names))
    if "integer" in names and "number" not in names:
        add(schema, Kind.NUMBER, number_set.INTEGERS)


def enum(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.1.2 and 6.1.3: `const` is an `enum` of one."""
    values = [value] if keyword == "const" else value
    if not isinstance(values, list):
        raise _wrong(schema, keyword, "a list", value)
    if len(values) > compiler.limits.enum_values:
        raise GrammarTooLargeError("enum_values", compiler.limits.enum_values, f"enum at {schema.node.path}")
    schema.applied.append(compiler.space.atom(Values(frozenset(map(to_value, values)))) if values else FALSE)


def multiple_of(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.2.1, exact: 0.3 is a multiple of 0.1."""
    step = _number(schema, keyword, value)
    if step <= 0:
        raise _wrong(schema, keyword, "more than 0", value)
    add(schema, Kind.NUMBER, number_set.multiples(step))


def minimum(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.2.4 and 6.2.5; in draft 4 `exclusiveMinimum` is a flag beside it."""
    flag = isinstance(schema.node.data, dict) and schema.node.data.get("exclusiveMinimum") is True
    closed = keyword == "minimum" and not (flag and compiler.dialect(schema).name == "draft-04")
    add(schema, Kind.NUMBER, number_set.between(_number(schema, keyword, value), closed, None, False))


def maximum(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.2.2 and 6.2.3; in draft 4 `exclusiveMaximum` is a flag beside it."""
    flag = isinstance(schema.node.data, dict) and schema.node.data.get("exclusiveMaximum") is True
    closed = keyword == "maximum" and not (flag and compiler.dialect(schema).name == "draft-04")
    add(schema, Kind.NUMBER, number_set.between(None, False, _number(schema, keyword, value), closed))


def exclusive_flag(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Draft 4: read by minimum and maximum."""
    if not isinstance(value, bool):
        raise _wrong(schema, keyword, "true or false in draft 4", value)


def min_length(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.3.2, in code points."""
    add(schema, Kind.STRING, Language.length(_natural(schema, keyword, value), None))


def max_length(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.3.1, in code points."""
    add(schema, Kind.STRING, Language.length(0, _natural(schema, keyword, value)))


def pattern(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.3.3: found anywhere in the string."""
    if not isinstance(value, str):
        raise _wrong(schema, keyword, "a string", value)
    add(schema, Kind.STRING, compiler.pattern(value, f"{schema.node.path}/{keyword}"))


def format_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """7: an assertion if asked for, or if the dialect's vocabulary says so; unknown formats are annotations."""
    if not isinstance(value, str):
        raise _wrong(schema, keyword, "a string", value)
    language = compiler.format(value, schema)
    (compiler.annotations if language is None else compiler.enforced).add(keyword)
    if language is not None:
        add(schema, Kind.STRING, language)


def min_count(kind: Kind) -> Handler:
    """`minItems` and `minProperties`."""

    def handler(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
        add(schema, kind, count(compiler.space, _natural(schema, keyword, value), None))

    return handler


def max_count(kind: Kind) -> Handler:
    """`maxItems` and `maxProperties`."""

    def handler(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
        add(schema, kind, count(compiler.space, 0, _natural(schema, keyword, value)))

    return handler


def unique_items(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.4.3."""
    if not isinstance(value, bool):
        raise _wrong(schema, keyword, "true or false", value)
    if value:
        add(schema, Kind.ARRAY, compiler.space.atom(Unique(frozenset())))


def required_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.5.3."""
    names = tuple(dict.fromkeys(_strings(schema, keyword, value)))
    add(schema, Kind.OBJECT, required(compiler.space, names))


def dependent_required(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """6.5.4."""
    for name, names in _map(schema, keyword, value).items():
        _depend(compiler, schema, name, _strings(schema, keyword, names))


def _depend(compiler: Compiler, schema: Schema, name: str, names: list[str]) -> None:
    space = compiler.space
    others = tuple(dict.fromkeys(other for other in names if other != name))
    add(schema, Kind.OBJECT, space.any([compiler.absent(name), required(space, others)]))


def dependent_schemas(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.2.4: the schema applies to the whole object if it has the name."""
    for name, inner in _map(schema, keyword, value).items():
        formula = compiler.child(schema, f"/{keyword}/{compiler.escape(name)}", inner)
        schema.typed_applied.append((Kind.OBJECT, name, formula))
        schema.evaluates.append((formula, (formula,), name))


def dependencies(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Drafts 4 to 7 (and still read later): names or a schema; draft 4 and 3 allow one name without a list."""
    for name, inner in _map(schema, keyword, value).items():
        if isinstance(inner, list):
            _depend(compiler, schema, name, _strings(schema, keyword, inner))
        else:
            dependent_schemas(compiler, schema, keyword, {name: inner})


def members(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.3.2: properties, patternProperties and additionalProperties together."""
    data = schema.node.data
    assert isinstance(data, dict)
    properties = _map(schema, "properties", data.get("properties", {}))
    if len(properties) > compiler.limits.properties:
        raise GrammarTooLargeError("properties", compiler.limits.properties, f"properties at {schema.node.path}")
    known = {
        name: compiler.child(schema, f"/properties/{compiler.escape(name)}", inner)
        for name, inner in properties.items()
    }
    patterns = tuple(
        (
            compiler.pattern(name, f"{schema.node.path}/patternProperties/{compiler.escape(name)}"),
            compiler.child(schema, f"/patternProperties/{compiler.escape(name)}", inner),
        )
        for name, inner in _map(schema, "patternProperties", data.get("patternProperties", {})).items()
    )
    additional = TRUE
    if "additionalProperties" in data:
        additional = compiler.child(schema, "/additionalProperties", data["additionalProperties"])
    add(schema, Kind.OBJECT, compiler.space.atom(Members(known, patterns, additional)))


def property_names(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.3.2.4: a name is a string, so only what the schema says about strings counts."""
    formula = compiler.child(schema, f"/{keyword}", value)

    def names() -> Part:
        language = compiler.typed(formula, Kind.STRING)
        assert isinstance(language, Language)
        return TRUE if language is Language.EVERY else compiler.space.atom(Names(language))

    schema.assertions.setdefault(Kind.OBJECT, []).append(names)


def items(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.3.1: prefixItems and items; before 2020-12 items (one or a list) and additionalItems."""
    data = schema.node.data
    assert isinstance(data, dict)
    prefix, rest = item_positions(compiler, schema, data)
    first = tuple(compiler.child(schema, pointer, inner) for pointer, inner in prefix)
    behind = TRUE if rest is None else compiler.child(schema, *rest)
    add(schema, Kind.ARRAY, compiler.space.atom(Items(first, behind)))


Positioned = tuple[str, Json]


def item_positions(
    compiler: Compiler, schema: Schema, data: dict[str, Json]
) -> tuple[list[Positioned], Positioned | None]:
    """The schemas of the first items, and that of all others, as the draft has them."""
    first, behind = (
        ("prefixItems", "items") if compiler.dialect(schema).name == "2020-12" else ("items", "additionalItems")
    )
    found = data.get(first)
    if first == "items" and not isinstance(found, list):
        return [], ("/items", found) if "items" in data else None
    listed = (
        []
        if found is None
        else [(f"/{first}/{index}", inner) for index, inner in enumerate(_list(schema, first, found))]
    )
    return listed, (f"/{behind}", data[behind]) if behind in data else None


def contains_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.3.1.3 with 6.4.4 and 6.4.5."""
    data = schema.node.data
    assert isinstance(data, dict)
    shape = compiler.child(schema, "/contains", value)
    least, most = 1, None
    if compiler.knows_keyword(schema, "minContains") and "minContains" in data:
        least = _natural(schema, "minContains", data["minContains"])
    if compiler.knows_keyword(schema, "maxContains") and "maxContains" in data:
        most = _natural(schema, "maxContains", data["maxContains"])
    add(schema, Kind.ARRAY, contains(compiler.space, shape, least, most))


def all_of(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.1.1."""
    for formula in _arms(compiler, schema, keyword, value):
        schema.applied.append(formula)
        schema.evaluates.append((formula, (), None))


def any_of(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.1.2."""
    arms = _arms(compiler, schema, keyword, value)
    schema.applied.append(compiler.space.any(arms))
    schema.evaluates.extend((arm, (arm,), None) for arm in arms)


def one_of(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.1.3."""
    arms = _arms(compiler, schema, keyword, value)
    space = compiler.space
    exactly_one = [
        space.all([arm, *(space.invert(other) for place, other in enumerate(arms) if place != index)])
        for index, arm in enumerate(arms)
    ]
    schema.applied.append(space.any(exactly_one))
    schema.evaluates.extend((arm, (arm,), None) for arm in arms)


def _arms(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> list[Formula]:
    return [
        compiler.child(schema, f"/{keyword}/{index}", inner)
        for index, inner in enumerate(_list(schema, keyword, value))
    ]


def not_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.1.4: evaluates nothing."""
    schema.applied.append(compiler.space.invert(compiler.child(schema, "/not", value)))


def if_(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 10.2.2.1 to 10.2.2.3."""
    data, space = schema.node.data, compiler.space
    assert isinstance(data, dict)
    condition = compiler.child(schema, "/if", value)
    schema.evaluates.append((condition, (condition,), None))
    branches = (("then", condition), ("else", space.invert(condition)))
    for branch, taken in branches:
        if branch in data:
            formula = compiler.child(schema, f"/{branch}", data[branch])
            schema.applied.append(space.any([space.invert(taken), formula]))
            if taken is not FALSE:
                schema.evaluates.append((formula, (taken, formula), None))


def ref(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 8.2.3: `$ref`, `$dynamicRef` and 2019-09's `$recursiveRef`."""
    if not isinstance(value, str):
        raise _wrong(schema, keyword, "a string", value)
    formula = compiler.follow(schema, keyword, value)
    schema.applied.append(formula)
    schema.evaluates.append((formula, (), None))


def beside(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Read by the keyword that it stands beside."""


def unevaluated(compiler: Compiler, schema: Schema, keyword: str, value: Json) -> None:
    """Core 11.2 and 11.3: asked for by `Compiler.unevaluated` when all that applies has been read."""
    compiler.child(schema, f"/{keyword}", value)


def own_cover(compiler: Compiler, schema: Schema, kind: Kind, with_unevaluated: bool) -> Cover | None:
    """What a schema's own keywords evaluate (Core 11); None if nothing."""
    data = schema.node.data
    if not isinstance(data, dict) or kind not in schema.kinds:
        return None
    if kind is Kind.OBJECT:
        if "additionalProperties" in data or (with_unevaluated and "unevaluatedProperties" in data):
            return Cover(everything=True)
        names = frozenset(_map(schema, "properties", data.get("properties", {})))
        patterns = tuple(
            compiler.pattern(name, schema.node.path) for name in _map(schema, "", data.get("patternProperties", {}))
        )
        return Cover(names=names, patterns=patterns) if names or patterns else None
    prefix, rest = item_positions(compiler, schema, data)
    if rest is not None or (with_unevaluated and "unevaluatedItems" in data):
        return Cover(everything=True)
    inside = None
    if "contains" in data and compiler.dialect(schema).name == "2020-12":
        inside = compiler.child(schema, "/contains", data["contains"])
    return Cover(num_items=len(prefix), containing=inside) if prefix or inside is not None else None


_VALIDATION: dict[str, Handler] = {
    "type": type_,
    "enum": enum,
    "const": enum,
    "multipleOf": multiple_of,
    "minimum": minimum,
    "maximum": maximum,
    "exclusiveMinimum": minimum,
    "exclusiveMaximum": maximum,
    "minLength": min_length,
    "maxLength": max_length,
    "pattern": pattern,
    "minItems": min_count(Kind.ARRAY),
    "maxItems": max_count(Kind.ARRAY),
    "uniqueItems": unique_items,
    "minProperties": min_count(Kind.OBJECT),
    "maxProperties": max_count(Kind.OBJECT),
    "required": required_,
    "dependentRequired": dependent_required,
    "minContains": beside,
    "maxContains": beside,
}
_APPLICATOR: dict[str, Handler] = {
    "properties": members,
    "patternProperties": members,
    "additionalProperties": members,
    "propertyNames": property_names,
    "items": items,
    "prefixItems": items,
    "additionalItems": items,
    "contains": contains_,
    "allOf": all_of,
    "anyOf": any_of,
    "oneOf": one_of,
    "not": not_,
    "if": if_,
    "then": beside,
    "else": beside,
    "dependentSchemas": dependent_schemas,
    "dependencies": dependencies,
}
_CORE: dict[str, Handler] = {"$ref": ref, "$dynamicRef": ref, "$recursiveRef": ref}
_UNEVALUATED: dict[str, Handler] = dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), unevaluated)
_SINCE_6 = frozenset({"const", "propertyNames", "contains"})
_SINCE_7 = frozenset({"if", "then", "else"})
_SINCE_2019 = frozenset({"dependentRequired", "dependentSchemas", "minContains", "maxContains", *_UNEVALUATED})
_ALL = {**_VALIDATION, **_APPLICATOR, **_CORE, **_UNEVALUATED, "format": format_}
_UNKNOWN = {
    "draft-04": _SINCE_6 | _SINCE_7 | _SINCE_2019 | {"prefixItems", "$dynamicRef", "$recursiveRef"},
    "draft-06": _SINCE_7 | _SINCE_2019 | {"prefixItems", "$dynamicRef", "$recursiveRef"},
    "draft-07": _SINCE_2019 | {"prefixItems", "$dynamicRef", "$recursiveRef"},
    "2019-09": {"prefixItems", "$dynamicRef"},
    "2020-12": {"additionalItems", "$recursiveRef"},
}
_VOCABULARY = {
    **dict.fromkeys(_VALIDATION, "validation"),
    **dict.fromkeys(_APPLICATOR, "applicator"),
    **dict.fromkeys(_UNEVALUATED, "unevaluated"),
}
ANNOTATIONS = frozenset(
    "title description default examples deprecated readOnly writeOnly $comment $schema $id id $anchor $dynamicAnchor "
    "$recursiveAnchor $vocabulary $defs definitions contentMediaType contentEncoding contentSchema".split()
)


def keywords(draft: str, vocabularies: frozenset[str] | None) -> dict[str, Handler]:
    """The keywords of a draft that its vocabularies have as assertions or applicators."""
    known = {keyword: handler for keyword, handler in _ALL.items() if keyword not in _UNKNOWN[draft]}
    if draft == "draft-04":
        known.update({"exclusiveMinimum": exclusive_flag, "exclusiveMaximum": exclusive_flag})
    if vocabularies is None:
        return known
    present = vocabularies | ({"unevaluated"} if draft == "2019-09" and "applicator" in vocabularies else frozenset())
    return {key: handler for key, handler in known.items() if _VOCABULARY.get(key) in (None, *present)}
