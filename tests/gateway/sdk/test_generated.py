"""Whatever the grammar of a type's schema lets a model write becomes a value of the type: random walks say so."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from espalier.gateway.sdk import Call
from espalier.gateway.sdk.schema import schema_of
from espalier.gateway.sdk.shape import Shape
from espalier.grammar import Json, compile_grammar
from tests.gateway.sdk.test_schema import CASES, names
from tests.gateway.sdk.test_tool import forecast
from tests.grammar.small import END, SMALL
from tests.grammar.walk import BUDGETS, walk

NUM_WALKS = 15


def written(schema: Mapping[str, object], random: Random) -> list[str]:
    """What a model could write under a schema, as the server keeps it."""
    grammar = compile_grammar(Json(dict(schema), assert_formats=True), SMALL, [END])
    walks = [walk(grammar.start(), random, SMALL, END, random.choice(BUDGETS)) for _ in range(NUM_WALKS)]
    return [one.text.decode() for one in walks]


@pytest.mark.parametrize("kind", [kind for kind, _, _ in CASES], ids=names)
def test_what_the_grammar_of_a_type_allows_becomes_its_value(kind: Any) -> None:
    shape = Shape(kind)
    for text in written(schema_of(kind), Random(7)):
        shape.decode(text)


@pytest.mark.anyio
async def test_what_the_grammar_of_a_tool_allows_are_its_arguments() -> None:
    for text in written(forecast.spec.parameters, Random(7)):
        await forecast.execute(Call("call_1", "forecast", text))
