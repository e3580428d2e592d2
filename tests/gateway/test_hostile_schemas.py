"""Schemas and patterns that have broken servers, at every place where a request can hold one: refused, or kept.

The ids are those of the list of hostile inputs. Nothing reaches the engine of a request that is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

REFUSED = ("invalid_schema", "unsatisfiable_schema", "schema_too_large")
MESSAGES = [{"role": "user", "content": "Hi"}]


def nested(key: str, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        if key == "properties":
            schema = {"type": "object", "properties": {"a": schema}}
        elif key == "items":
            schema = {"type": "array", "items": schema}
        else:
            schema = {key: [schema, {"type": "null"}]}
    return schema


def one_of(depth: int) -> dict[str, Any]:
    if depth == 0:
        return {"type": "integer"}
    return {"oneOf": [{"required": [f"{depth}{arm}"], "properties": {"a": one_of(depth - 1)}} for arm in "xyz"]}


def words(count: int) -> list[str]:
    random = Random(0)
    return ["".join(random.choices("abcdefghij", k=10)) for _ in range(count)]


TEXT = {"type": "string"}
CLOSED = {"type": "object", "additionalProperties": False}
TWICE: dict[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/n"}}

# What is refused, and with which code; then what has to be kept.
SCHEMAS: dict[str, tuple[Any, str | None]] = {
    "G03 objects in objects": (nested("properties", 300), "schema_too_large"),
    "G03 arrays in arrays": (nested("items", 600), "schema_too_large"),
    "G03 anyOf in anyOf": (nested("anyOf", 300), "schema_too_large"),
    "G03 objects in objects, fewer": (nested("properties", 100), None),
    "G04 no such type": ({"type": "object", "properties": {"a": {"type": "something"}}}, "invalid_schema"),
    **{
        f"G04 pattern {pattern}": ({"type": "string", "pattern": pattern}, code)
        for pattern, code in {"{": None, "[": "invalid_schema", "(": "invalid_schema"}.items()
    },
    "G05 a type that is a number": ({"type": 5}, "invalid_schema"),
    "G06 nested repetition": ({**TEXT, "pattern": "(a+)+$"}, None),
    "G06 counted repetition": ({**TEXT, "pattern": "((a{1,100}){1,100}){1,100}"}, None),
    "G06 two ways": ({**TEXT, "pattern": "(x+x+)+y"}, None),
    "G07 many states": ({**TEXT, "pattern": "[ab]*a[ab]{24}"}, None),
    "G08 oneOf in oneOf": (one_of(4), None),
    "G10 a long text": ({"type": "object", "properties": {"content": {**TEXT, "maxLength": 100_000}}}, None),
    "G13 no properties": ({"type": "object", "properties": {}}, None),
    "G14 many items": ({"type": "array", "items": TEXT, "minItems": 10, "maxItems": 1000}, None),
    "G14 lengths that contradict": ({**TEXT, "minLength": 5, "maxLength": 3}, "unsatisfiable_schema"),
    "G14 a format that its pattern contradicts": ({**TEXT, "format": "time", "pattern": "^[0-9]{2}:[0-9]{2}$"}, None),
    "G14 a length below zero": ({**TEXT, "maxLength": -1}, "invalid_schema"),
    "G14 half a length": ({**TEXT, "maxLength": 1.5}, "invalid_schema"),
    "G14 an endless length": ({**TEXT, "maxLength": 2**63}, None),
    "G15 two to the depth": (
        {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{**TWICE, "minItems": 0}, {**TWICE, "maxItems": 99}]}}},
        None,
    ),
    "G16 itself": ({"$ref": "#"}, "any"),
    "G16 each other": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "any"),
    "G16 nothing there": ({"$ref": "#/$defs/missing"}, "invalid_schema"),
    "G16 an address": ({"$ref": "http://169.254.169.254/"}, "invalid_schema"),
    "G16 a file": ({"$ref": "file:///etc/passwd"}, "invalid_schema"),
    "G16 no values": ({"enum": []}, "any"),
    "G17 lengths of two": ({"allOf": [{**TEXT, "maxLength": 3}, {"minLength": 5}]}, "unsatisfiable_schema"),
    "G17 required and false": (
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        "unsatisfiable_schema",
    ),
    "G17 more than names": ({**CLOSED, "properties": {"a": TEXT}, "minProperties": 2}, "unsatisfiable_schema"),
    "G02 many words": (
        {
            "type": "object",
            "properties": {name: {"$ref": "#/$defs/color"} for name in "abcdefgh"},
            "$defs": {"color": {"enum": words(10_000)}},
        },
        None,
    ),
}
PATTERNS: dict[str, str | None] = {
    "(": "invalid_schema",
    "(" * 2000 + "a" + ")" * 2000: None,
    "(a+)+$": None,
    "^[^\\n\\r]{1,129}$": None,
    "[ab]*a[ab]{24}": None,
    "(a+)+b(?=c)": "unsatisfiable_schema",
}


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def in_a_tool(schema: Any) -> dict[str, Any]:
    inner = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
    if isinstance(schema, dict) and ("$defs" in schema or schema.get("$ref", "").startswith("#")):
        inner["properties"] = {"value": {**schema, "$id": "urn:inner"}}
    good = {"type": "function", "function": {"name": "good", "parameters": {"type": "object", "properties": {}}}}
    return {"tools": [good, {"type": "function", "function": {"name": "bad", "parameters": inner}}]}


def in_a_flat_tool(schema: Any) -> dict[str, Any]:
    tools = in_a_tool(schema)["tools"]
    return {"tools": [{"type": "function", **tool["function"]} for tool in tools]}


def text_format(schema: Any) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema", "name": "answer", "schema": schema}}}


CHAT, TEXTS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
PROMPTS: dict[str, dict[str, Any]] = {CHAT: {"messages": MESSAGES}, TEXTS: {"prompt": "Hi"}, RESPONSES: {"input": "Hi"}}
SCHEMA_PLACES: dict[str, tuple[str, Callable[[Any], dict[str, Any]], str]] = {
    "response_format": (CHAT, lambda s: {"response_format": json_schema(s)}, "response_format.json_schema.schema"),
    "tools": (CHAT, in_a_tool, "tools[1].function.parameters"),
    "structured_outputs": (CHAT, lambda s: {"structured_outputs": {"json": s}}, "structured_outputs.json"),
    "guided_json as a text": (CHAT, lambda s: {"guided_json": json.dumps(s)}, "guided_json"),
    "completions": (TEXTS, lambda s: {"response_format": json_schema(s)}, "response_format.json_schema.schema"),
    "responses": (RESPONSES, text_format, "text.format.schema"),
    "tools of responses": (RESPONSES, in_a_flat_tool, "tools[1].parameters"),
}
PATTERN_PLACES: dict[str, tuple[str, Callable[[str], dict[str, Any]], str]] = {
    "regex": (CHAT, lambda p: {"regex": p}, "regex"),
    "guided_regex": (CHAT, lambda p: {"guided_regex": p}, "guided_regex"),
    "structured_outputs": (CHAT, lambda p: {"structured_outputs": {"regex": p}}, "structured_outputs.regex"),
    "completions": (TEXTS, lambda p: {"regex": p}, "regex"),
}


async def send(api: Any, path: str, body: dict[str, Any]) -> Any:
    return await api.post(path, **PROMPTS[path], **body)


def assert_refused(api: Any, name: str, response: Any, param: str, code: str) -> None:
    assert response.status_code == 400, f"{name}: {response.text[:300]}"
    error = response.json()["error"]
    assert error["param"] == param and param in error["message"]
    assert error["code"] in REFUSED if code == "any" else error["code"] == code, error
    assert code != "schema_too_large" or "over the limit" in error["message"]
    assert len(response.content) < 2500 and not api.engine.requests


@pytest.mark.parametrize("place", SCHEMA_PLACES)
async def test_a_schema_is_kept_or_refused_where_it_stands(api: Any, place: str) -> None:
    path, body, param = SCHEMA_PLACES[place]
    for name, (schema, code) in SCHEMAS.items():
        response = await send(api, path, body(schema))
        if code is not None:
            assert_refused(api, name, response, param, code)
        elif place.startswith("tools") and name.startswith("G02"):  # the model would be told of it, and it is longer
            assert response.json()["error"]["code"] == "context_length_exceeded"
        else:
            assert response.status_code == 200, f"{name}: {response.text[:300]}"
            assert "schema" in response.json()["espalier"]
        api.engine.requests.clear()


@pytest.mark.parametrize("place", PATTERN_PLACES)
async def test_a_pattern_is_kept_or_refused_where_it_stands(api: Any, place: str) -> None:
    path, body, param = PATTERN_PLACES[place]
    for pattern, code in PATTERNS.items():
        response = await send(api, path, body(pattern))
        if code is None:
            assert response.status_code == 200, f"{pattern}: {response.text[:300]}"
        else:
            assert_refused(api, pattern, response, param, code)
        api.engine.requests.clear()


async def test_many_properties_are_kept(api: Any) -> None:
    schema = {"type": "object", "properties": {f"property{at}": TEXT for at in range(50_000)}}
    path, body, _ = SCHEMA_PLACES["response_format"]
    assert (await send(api, path, body(schema))).status_code == 200  # G11


@pytest.mark.parametrize("given", ["not json", 5, None, []])
async def test_what_is_no_schema_is_named(api: Any, given: Any) -> None:
    for place, (path, body, param) in SCHEMA_PLACES.items():
        if place.startswith("tools"):
            function = {"name": "f", "parameters": given}
            tool = {"type": "function"} | ({"function": function} if path == CHAT else function)
            response = await send(api, path, {"tools": [tool]})
            assert response.status_code == (200 if given is None else 400)
            if given is not None:
                assert response.json()["error"]["param"] == param.replace("[1]", "[0]")
        elif place == "structured_outputs" and given is None:
            continue  # null is absent
        else:
            response = await send(api, path, body(given))
            assert response.status_code == 400 and response.json()["error"]["param"] == param, response.text
    api.engine.requests.clear()
