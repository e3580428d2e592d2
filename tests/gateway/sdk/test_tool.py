"""Tools from functions: what the model is told of them, and how a call's arguments arrive."""

from __future__ import annotations

import enum
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pytest

from espalier.gateway.sdk import Call, DefinitionError, ShapeError, tool
from espalier.gateway.sdk.tool import as_tool

pytestmark = pytest.mark.anyio


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str | None = None


class Window(pydantic.BaseModel):
    start: int
    end: int


Pages = Annotated[int, pydantic.Field(gt=0)]


@tool
def forecast(
    place: Annotated[Place, "where"],
    days: Annotated[int, msgspec.Meta(ge=1, le=14)],
    unit: Unit = Unit.C,
    style: Literal["short", "long"] = "short",
    windows: list[Window] | None = None,
    tags: tuple[str, ...] = (),
) -> dict[str, object]:
    """The weather to come.

    Args:
        place: not this
        days: how far to look
        unit: of the temperatures
    """
    return {
        "city": place.city,
        "days": days,
        "unit": unit,
        "style": style,
        "ends": [window.end for window in windows or ()],
        "tags": tags,
    }


def asked(arguments: str) -> Call:
    return Call("call_1", "forecast", arguments, "key")


def test_the_schema_comes_from_annotations_defaults_and_docstring() -> None:
    spec = forecast.spec
    assert (spec.name, spec.description, spec.timeout_s, spec.effect) == (
        "forecast",
        "The weather to come.",
        None,
        "once",
    )
    properties: Any = spec.parameters["properties"]
    assert spec.parameters["required"] == ["place", "days"]
    assert spec.parameters["additionalProperties"] is False
    assert {name: one.get("description") for name, one in properties.items()} == {
        "place": "where",
        "days": "how far to look",
        "unit": "of the temperatures",
        "style": None,
        "windows": None,
        "tags": None,
    }
    assert properties["days"] | {"minimum": 1, "maximum": 14, "type": "integer"} == properties["days"]
    assert (properties["style"]["default"], properties["unit"]["default"]) == ("short", "celsius")
    jsonschema.Draft202012Validator.check_schema(spec.parameters)


async def test_arguments_arrive_as_the_types_that_were_written() -> None:
    arguments = '{"place":{"city":"Oslo"},"days":3,"unit":"fahrenheit","windows":[{"start":1,"end":2}],"tags":["a"]}'
    said = await forecast.execute(asked(arguments))
    assert said == '{"city":"Oslo","days":3,"unit":"fahrenheit","style":"short","ends":[2],"tags":["a"]}'


async def test_what_is_left_out_has_the_default_of_the_function() -> None:
    assert '"unit":"celsius"' in await forecast.execute(asked('{"place":{"city":"Oslo"},"days":1}'))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"place":{"city":"Oslo"},"days":"3"}', "days: Expected `int`, got `str`"),
        ('{"place":{"city":"Oslo"},"days":15}', "days: Expected `int` <= 14"),
        ('{"place":{},"days":1}', "place: Object missing required field `city`"),
        ('{"place":{"city":"Oslo"},"days":1,"day":1}', "unknown field `day`"),
        ('{"place":{"city":"Oslo"},"days":1,"unit":"kelvin"}', "unit: Invalid enum value 'kelvin'"),
        ("", "missing required field"),
        ("[1]", "Expected `object`, got `array`"),
        ('{"place"', "not valid JSON"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(arguments: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message.replace("(", r"\(")):
        await forecast.execute(asked(arguments))


def test_the_function_can_still_be_called() -> None:
    assert forecast(Place("Rome"), 2)["city"] == "Rome"


async def test_a_sync_tool_runs_in_a_thread_and_an_async_one_in_the_loop() -> None:
    @tool
    def sync() -> str:
        return threading.current_thread().name

    @tool
    async def asynchronous() -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await sync.execute(asked("{}")) != here
    assert await asynchronous.execute(asked("{}")) == here


async def test_a_parameter_for_the_call_is_given_it_and_hidden_from_the_model() -> None:
    @tool
    def pay(amount: int, call: Call) -> str:
        return f"{amount} under {call.key}"

    assert list(pay.spec.parameters["properties"]) == ["amount"]  # type: ignore[call-overload]
    assert await pay.execute(asked('{"amount":3}')) == "3 under key"


def test_settings_are_those_of_the_decorator() -> None:
    @tool(name="look-up", description="Find it.", timeout_s=3, effect="none")
    def find(what: str) -> str:
        """Not this."""
        return what

    assert (find.spec.name, find.spec.description) == ("look-up", "Find it.")
    assert (find.spec.timeout_s, find.spec.effect) == (3, "none")


def test_a_plain_function_becomes_a_tool_and_a_tool_stays_what_it_is() -> None:
    def plain(x: int) -> int:
        return x

    assert as_tool(plain).spec.name == "plain"
    assert as_tool(forecast) is forecast


async def test_bounds_hold_for_a_parameter_with_a_default() -> None:
    @tool
    def repeat(times: Annotated[int, "how often", msgspec.Meta(ge=1)] = 1, word: str | None = None) -> str:
        return f"{times} {word}"

    assert repeat.spec.parameters["properties"] == {
        "times": {"description": "how often", "type": "integer", "minimum": 1, "default": 1},
        "word": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    }
    assert await repeat.execute(asked("{}")) == "1 None"
    assert await repeat.execute(asked('{"word":null,"times":2}')) == "2 None"
    with pytest.raises(ShapeError, match="times: Expected `int` >= 1"):
        await repeat.execute(asked('{"times":0}'))


async def test_bounds_may_be_said_in_pydantics_words() -> None:
    @tool
    def repeat(times: Annotated[int, pydantic.Field(ge=1, le=9, description="how often")], most: Pages = 3) -> str:
        return f"{times} {most}"

    assert repeat.spec.parameters["properties"] == {
        "times": {"description": "how often", "type": "integer", "minimum": 1, "maximum": 9},
        "most": {"type": "integer", "exclusiveMinimum": 0, "default": 3},
    }
    with pytest.raises(ShapeError, match="times: Expected `int` >= 1"):
        await repeat.execute(asked('{"times":0}'))
    with pytest.raises(ShapeError, match="most: Expected `int` >= 1"):
        await repeat.execute(asked('{"times":1,"most":0}'))


async def test_a_method_is_a_tool() -> None:
    class Shelf:
        def __init__(self) -> None:
            self.items = ["a"]

        async def put(self, item: str) -> int:
            """Put it there."""
            self.items.append(item)
            return len(self.items)

    assert await tool(Shelf().put).execute(asked('{"item":"b"}')) == "2"


def untyped(x):  # type: ignore[no-untyped-def]
    return x


def many(*xs: int) -> int:
    return sum(xs)


def opaque(x: threading.Thread) -> None:
    return None


def paged(x: int) -> Iterator[int]:
    yield x


async def streamed(x: int) -> AsyncIterator[int]:
    yield x


def fielded(x: int = pydantic.Field(ge=1)) -> int:
    return x


class Desk:
    def ask(self, what: str) -> str:
        return what


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (paged, "paged: .*generator"),
        (streamed, "streamed: .*generator"),
        (fielded, r"fielded: .*write x: Annotated\["),
        (Desk.ask, r"ask: the parameter 'self' needs a type; .* tool\(thing\.ask\)"),
        (untyped, "untyped: the parameter 'x' needs a type"),
        (many, "many: .*can't be told"),
        (opaque, "opaque: .*"),
        (lambda: None, "a tool needs a name"),
    ],
)
def test_a_function_that_can_not_be_told_is_refused_by_name(function: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        tool(function)


def test_a_timeout_must_be_over_0() -> None:
    with pytest.raises(DefinitionError, match="timeout_s must be over 0, not 0"):
        tool(timeout_s=0)(many)
