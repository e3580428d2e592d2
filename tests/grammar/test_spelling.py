"""Spellings beside compact and natural JSON: as Python's json writes it, and with Python's words."""

from __future__ import annotations

import ast
import json
import re

import pytest

from espalier.grammar import Json, compile_grammar
from espalier.grammar.spelling import Spelling
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.small import BYTES
from tests.grammar.test_walks import walked
from tests.grammar.walk import Judge, Walk

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def judged(schema: object, walks: list[Walk]) -> list[str]:
    judge, texts = Judge(schema, assert_formats=False), []
    for done in walks:
        text = Spelling(words="python").json(done.text).decode()
        assert not done.fault, f"{done.fault}: {done.text!r}"
        assert not (faults := list(judge.faults(text))), f"{text}: {faults}"
        texts.append(done.text.decode())
    return texts


@pytest.mark.parametrize("name", SCHEMAS)
def test_spaced_json_has_one_space_behind_each_comma_and_colon(name: str) -> None:
    for text in judged(SCHEMAS[name], walked(Json(SCHEMAS[name], white_space="spaced"), name, 3)):
        bare = STRING.sub('""', text)
        assert not re.search(r"[,:](?! )|[,:] {2}|[^,:] |[\n\t]", bare), text


@pytest.mark.parametrize("name", SCHEMAS)
def test_python_s_words_make_python_literals(name: str) -> None:
    constraint = Json(SCHEMAS[name], white_space="spaced", words="python")
    for text in judged(SCHEMAS[name], walked(constraint, name, 3)):
        if "e" not in STRING.sub("", text).lower().replace("true", "").replace("false", "").replace("none", ""):
            assert ast.literal_eval(text) is not ...
        assert not re.search("true|false|null", STRING.sub("", text)), text


def test_spaced_json_is_what_python_writes() -> None:
    value = {"a": [1, 2.5, "x, y: z"], "b": {"c": None, "d": [True, [], {}]}}
    schema = {"const": value, "properties": {"a": True, "b": True}}
    cursor = compile_grammar(Json(schema, white_space="spaced"), BYTES).start()
    text = json.dumps(value).encode()
    for at in range(len(text)):
        rest = cursor.shortest_completion()
        other = cursor.copy()
        other.accept_bytes(rest)
        assert other.is_complete() and text.startswith(text[:at] + rest)
        cursor.accept_bytes(text[at : at + 1])
    assert cursor.is_complete()
