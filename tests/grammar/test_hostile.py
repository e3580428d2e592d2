"""What has broken systems of this kind: each schema works, or is refused by the name of what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from espalier.grammar import (
    AnyJson,
    GrammarTooLargeError,
    Json,
    Limits,
    PatternError,
    RejectedError,
    SchemaError,
    UnsatisfiableError,
    Vocabulary,
    compile_grammar,
)

BYTES = Vocabulary([bytes([byte]) for byte in range(256)])
RANDOM = Random(0)
COLORS = ["".join(RANDOM.choices("abcdefghij", k=10)) for _ in range(10_000)]
NODE = {"type": "array", "items": {"$ref": "#/$defs/n"}}
PROPERTIES = {f"p{index}": {"type": "string"} for index in range(500)}


def tool(index: int) -> dict[str, Any]:
    """A call of one of many tools."""
    arguments = {"type": "object", "properties": {f"q{index}": {"type": "string"}}, "required": [f"q{index}"]}
    properties = {"name": {"const": f"tool_{index}"}, "arguments": {**arguments, "additionalProperties": False}}
    return {"type": "object", "properties": properties, "required": ["name", "arguments"]}


WORKS: dict[str, Any] = {
    "G02": {
        "$defs": {"color": {"enum": COLORS}},
        "properties": {f"p{index}": {"$ref": "#/$defs/color"} for index in range(8)},
    },
    "G04 {": {"pattern": "{"},
    "G04 {{}}": {"pattern": "{{}}"},
    "G04 []": {"pattern": "[]"},
    "G06 plus": {"type": "string", "pattern": "(a+)+$"},
    "G06 counts": {"type": "string", "pattern": "((a{1,100}){1,100}){1,100}"},
    "G07 13": {"type": "string", "pattern": "[ab]*a[ab]{13}"},
    "G07 24": {"type": "string", "pattern": "[ab]*a[ab]{24}"},
    **{f"G09 {n}": {"type": "string", "pattern": f"^[^\\n\\r]{{1,{n}}}$"} for n in (127, 128, 129, 130)},
    "G10": {"properties": {"content": {"type": "string", "maxLength": 100_000}}, "required": ["content"]},
    "G11": {"type": "object", "properties": {f"prop_{index}": {"type": "string"} for index in range(50_000)}},
    "G12": {"type": "string", "pattern": "^(?:a*)*$"},
    "G13": {"type": "object", "properties": {}},
    "G14 items": {"type": "array", "minItems": 10, "maxItems": 1000},
    "G14 length": {"type": "string", "maxLength": 2**63},
    "G15": {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{**NODE, "minItems": 0}, {**NODE, "maxItems": 99}]}}},
    "G16 duplicates": '{"enum": [1, 1, 1.0, "a", null, 1e400]}',
    "an enum of 10,000": {"enum": COLORS},
    "500 required": {"type": "object", "properties": PROPERTIES, "required": list(PROPERTIES)},
    "anyOf of 40 tools": {"anyOf": [tool(index) for index in range(40)]},
    "oneOf of 40 tools": {"oneOf": [tool(index) for index in range(40)]},
}


@pytest.mark.parametrize("name", WORKS)
def test_what_is_only_large_or_odd_works(name: str) -> None:
    cursor = compile_grammar(Json(WORKS[name]), BYTES).start()
    text = cursor.shortest_completion()
    cursor.accept_bytes(text)
    assert cursor.is_complete()
    json.loads(text)


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [('{"properties":{"a":', "}}"), ('{"items":', "}"), ('{"anyOf":[', "]}")])
def test_nesting_works_or_is_refused_by_name(begin: str, end: str, depth: int) -> None:
    constraint = Json(begin * depth + "true" + end * depth)
    if depth == 100:
        assert compile_grammar(constraint, BYTES).start().shortest_completion()
    else:
        with pytest.raises(GrammarTooLargeError) as raised:
            compile_grammar(constraint, BYTES)
        assert raised.value.limit in ("nesting", "schema_bytes")


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [("(", ")"), ("(?:", ")*"), ("(?=", ")"), ("[", "]")])
def test_nested_groups_of_a_pattern_work_or_are_refused(begin: str, end: str, depth: int) -> None:
    constraint = Json({"type": "string", "pattern": begin * depth + "a" + end * depth})
    try:
        text = compile_grammar(constraint, BYTES).start().shortest_completion()
    except PatternError:
        assert begin == "["
    except GrammarTooLargeError:
        assert depth > 100
    else:
        assert text.startswith(b'"')


@pytest.mark.parametrize("depth", [100, 9_000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_an_answer_as_deep_as_it_likes_ends_or_stops_at_the_limit(opening: bytes, depth: int) -> None:
    cursor = compile_grammar(AnyJson(), BYTES).start()
    try:
        cursor.accept_bytes(opening * depth)
    except RejectedError:
        assert depth > Limits().depth
        return
    cursor.accept_bytes(cursor.shortest_completion())
    assert cursor.is_complete()


ARMS: dict[str, Callable[[int, object], list[object]]] = {
    "other members": lambda depth, inner: [
        {"type": "object", "properties": {f"a{depth}": inner}, "required": [f"a{depth}"]},
        {"type": "object", "properties": {f"b{depth}": inner}, "required": [f"b{depth}"]},
        {"type": "null"},
    ],
    "the same member": lambda depth, inner: [
        {"type": "object", "properties": {"a": inner}},
        {"type": "object", "properties": {"a": inner}, "required": ["a"]},
        {"type": "null"},
    ],
    "any member": lambda depth, inner: [{"properties": {name: inner}} for name in "abc"],
    "items": lambda depth, inner: [
        {"type": "array", "items": inner},
        {"type": "array", "items": inner, "minItems": 2},
        {"type": "integer"},
    ],
    "scalars": lambda depth, inner: [inner, {"type": "integer", "minimum": depth}, {"enum": [f"x{depth}", depth]}],
    "discriminators": lambda depth, inner: [
        {"type": "object", "properties": {"k": {"const": kind}, "v": inner}, "required": ["k", "v"]} for kind in "xyz"
    ],
}


@pytest.mark.parametrize("depth", [2, 5, 10, 20])
@pytest.mark.parametrize("arms", ARMS)
def test_g08_one_of_nested_with_three_arms(arms: str, depth: int) -> None:
    schemas: dict[str, object] = {"s0": {"type": "string"}}
    for level in range(1, depth + 1):
        schemas[f"s{level}"] = {"oneOf": ARMS[arms](level, {"$ref": f"#/$defs/s{level - 1}"})}
    schema: dict[str, object] = {"$ref": f"#/$defs/s{depth}", "$defs": schemas}
    random, cursor = Random(depth), compile_grammar(Json(schema), BYTES).start()
    for _ in range(60):
        options = list(cursor.next_bytes())
        if not options:
            break
        cursor.accept_bytes(bytes([random.choice([byte for byte in options if byte in b'{[":,abckvxyz'] or options)]))
    cursor.accept_bytes(cursor.shortest_completion())
    assert cursor.is_complete()


def test_g15_alternatives_that_go_on_alike_do_not_double() -> None:
    cursor = compile_grammar(Json(WORKS["G15"]), BYTES).start()
    cursor.accept_bytes(b"[" * 22)
    assert cursor.shortest_completion() == b"]" * 22


def test_a_reference_is_never_fetched() -> None:
    names = {
        name.split(".")[0]
        for name in subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; before = set(sys.modules); import espalier.grammar; "
                "print(*sorted(set(sys.modules) - before))",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    }
    assert names.isdisjoint({"socket", "ssl", "http", "httpx", "requests", "aiohttp"})


MALFORMED: dict[str, tuple[Any, str]] = {
    "G04 type": ({"type": "object", "properties": {"a": {"type": "something"}}}, "/properties/a/type"),
    "G05 text": ("not json", ""),
    "G05 number": ("5", ""),
    "G05 null": ("null", ""),
    "G05 list": ("[]", ""),
    "G05 type": ({"type": 5}, "/type"),
    "G14 negative": ({"minItems": -1}, "/minItems"),
    "G14 fraction": ({"maxLength": 1.5}, "/maxLength"),
    "G16 itself": ({"$ref": "#"}, ""),
    "G16 each other": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "/$defs/a",
    ),
    "G16 missing": ({"$ref": "#/nope"}, ""),
    "G16 remote": ({"properties": {"x": {"$ref": "http://169.254.169.254/"}}}, "/properties/x"),
    "G16 file": ({"$ref": "file:///etc/passwd"}, ""),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_with_its_path(name: str) -> None:
    schema, path = MALFORMED[name]
    with pytest.raises(SchemaError) as raised:
        compile_grammar(Json(schema), BYTES)
    assert raised.value.path == path


@pytest.mark.parametrize("pattern", ["[", "("])
def test_a_malformed_pattern_is_refused_with_path_and_position(pattern: str) -> None:
    with pytest.raises(PatternError) as raised:
        compile_grammar(Json({"properties": {"a": {"pattern": pattern}}}), BYTES)
    assert (raised.value.path, raised.value.position) == ("/properties/a/pattern", 0)


UNSATISFIABLE: dict[str, tuple[Any, str]] = {
    "G16 enum": ({"enum": []}, ""),
    "G17 lengths": ({"type": "string", "allOf": [{"maxLength": 3}, {"minLength": 5}]}, ""),
    "G17 false": ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "/properties/a"),
    "G17 names": (
        {
            "type": "object",
            "properties": {"x": {"type": "object", "minProperties": 3, "propertyNames": {"enum": ["a", "b"]}}},
            "required": ["x"],
        },
        "/properties/x",
    ),
    "G17 items": (
        {"allOf": [{"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 3}]},
        "/allOf/0",
    ),
}


@pytest.mark.parametrize("name", UNSATISFIABLE)
def test_what_nothing_satisfies_is_refused_with_the_path_that_makes_it_so(name: str) -> None:
    schema, path = UNSATISFIABLE[name]
    with pytest.raises(UnsatisfiableError) as raised:
        compile_grammar(Json(schema), BYTES)
    assert raised.value.path == path


@pytest.mark.parametrize(
    ("schema", "limit"),
    [
        ('{"type":"number","minimum":1e450}', "digits"),
        ('{"minimum":1e99999}', "number exponent"),
        ('{"type":"array","minItems":9223372036854775808}', "search_steps"),
        ('{"type":"object","minProperties":50000}', "search_steps"),
    ],
)
def test_what_only_our_bounds_exclude_is_refused_by_the_limit(schema: str, limit: str) -> None:
    with pytest.raises(GrammarTooLargeError) as raised:
        compile_grammar(Json(schema), BYTES)
    assert raised.value.limit == limit


def test_a_bound_on_states_is_named() -> None:
    with pytest.raises(GrammarTooLargeError) as raised:
        compile_grammar(Json({"type": "object"}), BYTES, limits=Limits(states=0))
    assert raised.value.limit == "states"
