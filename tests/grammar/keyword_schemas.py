"""Small schemas: every keyword of every draft occurs, mostly beside others that it interacts with."""

from __future__ import annotations

from typing import Any

D4, D6, D7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 6, 7))
D19 = "https://json-schema.org/draft/2019-09/schema"
A, B, AB = {"const": "a"}, {"type": "integer"}, {"enum": ["a", "ab", "b"]}

SCHEMAS: dict[str, Any] = {
    "any": True,
    "type": {"type": ["integer", "string", "null"]},
    "enum": {"enum": ["a", "ab", "abc", 1, 1.5, 10, None, True, {"a": [1, "b"]}, [1, 2], "é€😀", 'q"\\\n\u0001']},
    "const": {"const": {"a": 1, "b": ["a", {"c": "é"}]}},
    "numbers": {"type": "number", "minimum": -1.5, "exclusiveMaximum": 12, "multipleOf": 0.5},
    "integers": {"type": "integer", "exclusiveMinimum": 9, "maximum": 123456, "multipleOf": 3},
    "lengths": {"type": "string", "minLength": 2, "maxLength": 3},
    "pattern": {"type": "string", "pattern": "^(ab|é)+$|^\\d{2}$"},
    "pattern and lengths": {"pattern": "a.*b", "maxLength": 4, "type": "string"},
    "format": {"type": "string", "format": "date"},
    "formats": {"anyOf": [{"type": "string", "format": name} for name in ("ipv4", "date", "json-pointer")]},
    "objects": {"properties": {"a": B, "ab": AB, "b": True}, "required": ["b"], "type": "object"},
    "closed": {"properties": {"a": B, 'é"': AB}, "additionalProperties": False, "type": "object", "minProperties": 1},
    "patterns of names": {
        "patternProperties": {"^a": B, "b$": {"minimum": 2}},
        "additionalProperties": {"type": "null"},
        "type": "object",
    },
    "names": {"type": "object", "propertyNames": {"pattern": "^[ab]+$", "maxLength": 2}, "maxProperties": 3},
    "names of escapes": {
        "type": "object",
        "properties": {'"': B, "\\": B, "\n": B, "😀": B},
        "additionalProperties": False,
    },
    "dependent": {
        "type": "object",
        "properties": {"a": B},
        "dependentRequired": {"a": ["b"]},
        "dependentSchemas": {"b": {"maxProperties": 2}},
    },
    "dependencies": {"$schema": D7, "type": "object", "dependencies": {"a": ["b"], "b": {"properties": {"a": AB}}}},
    "unevaluated members": {
        "type": "object",
        "anyOf": [{"properties": {"a": B}, "required": ["a"]}, {"properties": {"b": AB}}],
        "unevaluatedProperties": False,
    },
    "items": {"type": "array", "prefixItems": [B, AB], "items": {"type": "boolean"}, "minItems": 1, "maxItems": 4},
    "old items": {"$schema": D7, "type": "array", "items": [B, AB], "additionalItems": {"type": "null"}},
    "contains": {
        "type": "array",
        "contains": {"const": 1},
        "minContains": 2,
        "maxContains": 3,
        "items": {"enum": [1, 2, "a"]},
    },
    "unique": {"type": "array", "uniqueItems": True, "items": {"enum": [1, 1.5, "a", "b"]}, "minItems": 2},
    "unique members": {
        "type": "array",
        "uniqueItems": True,
        "minItems": 2,
        "items": {
            "type": "object",
            "properties": {"a": {"enum": [1, 2]}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
    "unevaluated items": {
        "type": "array",
        "prefixItems": [B],
        "contains": {"const": "a"},
        "unevaluatedItems": {"type": "null"},
    },
    "all of": {"allOf": [{"type": ["object", "integer"]}, {"properties": {"a": B}}, {"required": ["a"], "minimum": 3}]},
    "any of": {
        "anyOf": [
            {"type": "object", "properties": {"a": A}, "required": ["a"]},
            {"type": "object", "properties": {"a": B}},
            AB,
        ]
    },
    "one of": {"oneOf": [{"type": "integer"}, {"minimum": 3}, {"type": "string", "maxLength": 1}]},
    "not": {"not": {"anyOf": [{"type": "object"}, {"type": "string", "pattern": "a"}, {"minimum": 1}]}},
    "if": {
        "type": "object",
        "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
        "then": {"required": ["b"]},
        "else": {"properties": {"a": A}},
    },
    "recursive": {
        "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 2}},
        "$ref": "#/$defs/n",
    },
    "list": {
        "type": "object",
        "properties": {"v": B, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["v", "next"],
        "additionalProperties": False,
    },
    "dynamic": {
        "$id": "http://a/t",
        "$dynamicAnchor": "n",
        "type": "object",
        "properties": {"a": {"$dynamicRef": "#n"}},
        "additionalProperties": False,
    },
    "recursive of 2019-09": {
        "$schema": D19,
        "$recursiveAnchor": True,
        "type": "array",
        "items": {"$recursiveRef": "#"},
    },
    "draft 4": {
        "$schema": D4,
        "type": "integer",
        "minimum": 1,
        "exclusiveMinimum": True,
        "maximum": 12,
        "exclusiveMaximum": True,
    },
    "draft 6": {"$schema": D6, "type": "array", "contains": A, "items": {"type": "string", "maxLength": 2}},
    "tools": {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": name},
                    "arguments": {
                        "type": "object",
                        "properties": {key: B},
                        "required": [key],
                        "additionalProperties": False,
                    },
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for name, key in (("ab", "a"), ("abc", "b"), ("b", "é"))
        ]
    },
}
