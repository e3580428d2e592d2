"""Schemas of types: judged by an independent validator against what msgspec itself converts."""

from __future__ import annotations

import datetime
import enum
import re
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, TypedDict

import annotated_types
import jsonschema  # type: ignore[import-untyped]
import jsonschema_rs
import msgspec
import pydantic
import pytest

from espalier.gateway.sdk import DefinitionError, ShapeError
from espalier.gateway.sdk.schema import schema_of
from espalier.gateway.sdk.shape import Shape, encode, encode_json


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Stop:
    """A place on the way.

    Attributes:
        city: where it is
    """

    city: str
    nights: Annotated[int, "how many nights", msgspec.Meta(ge=0)] = 1


@dataclass
class Trip:
    stops: list[Stop]
    color: Color | None = None
    title: str = ""
    parts: list[Trip] = field(default_factory=list)


class Person(TypedDict, total=False):
    name: Required[str]
    age: Annotated[int, "in years"]


class Point(NamedTuple):
    x: float
    y: float


class Cat(msgspec.Struct, tag=True):
    name: str


class Dog(msgspec.Struct, tag=True):
    name: str
    tricks: list[str] = []


class Street(pydantic.BaseModel):
    name: str = pydantic.Field(description="without the number")
    number: int


class Address(pydantic.BaseModel):
    street: Street
    city: str = "Oslo"
    others: list[Address] = []


@dataclass
class Visit:
    day: datetime.date
    since: datetime.datetime | None = None
    opens: list[datetime.time] = field(default_factory=list)
    lasts: datetime.timedelta | None = None
    price: Decimal | None = None
    ticket: uuid.UUID | None = None


class Timetable(NamedTuple):
    leaves: Annotated[datetime.datetime, msgspec.Meta(tz=True)]
    arrives: Annotated[datetime.time, msgspec.Meta(tz=False)]


class Closing(pydantic.BaseModel):
    day: datetime.date
    at: datetime.datetime


# Of each type: values that are of it, and values that are not.
CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (Stop, [{"city": "Oslo"}, {"city": "", "nights": 0}], [{}, {"city": 1}, {"city": "a", "nights": -1}, [], "Oslo"]),
    (
        Trip,
        [
            {"stops": []},
            {"stops": [{"city": "a"}], "color": "red", "parts": [{"stops": []}]},
            {"stops": [], "color": None},
        ],
        [{"stops": [{}]}, {"stops": [], "color": "green"}, {"stops": [], "parts": [{"stop": 1}]}],
    ),
    (Person, [{"name": "a"}, {"name": "a", "age": 3}], [{"age": 3}, {"name": "a", "age": "3"}]),
    (Point, [[1.0, 2]], [[1.0], ["a", 2], {"x": 1, "y": 2}]),
    (
        Cat | Dog,
        [{"type": "Cat", "name": "a"}, {"type": "Dog", "name": "a", "tricks": ["b"]}],
        [{"name": "a"}, {"type": "Cow"}],
    ),
    (Street, [{"name": "a", "number": 3}], [{"name": "a"}, {"name": "a", "number": "three"}]),
    (
        Address,
        [{"street": {"name": "a", "number": 1}, "others": [{"street": {"name": "b", "number": 2}}]}],
        [{"street": {"name": "a"}}, {"street": {"name": "a", "number": 1}, "others": [{}]}],
    ),
    (list[Address] | None, [None, []], [[{}], "a"]),
    (dict[str, Annotated[list[Literal["a", "b"]], "some"]], [{}, {"k": ["a"]}], [{"k": ["c"]}, {"k": "a"}, []]),
    (int | str, [3, "3"], [None, 3.5, []]),
    (bool, [True], [1, "true"]),
    (
        Visit,
        [
            {"day": "2024-02-29", "since": "0999-12-31T23:59:59.5+05:30", "opens": ["09:00:00", "09:00:00Z"]},
            {"day": "1900-02-28", "since": None, "lasts": "P1DT2H", "price": "-1.50", "ticket": f"{uuid.UUID(int=7)}"},
            {"day": "0001-01-01", "since": "2024-01-01T00:00:00", "lasts": "PT90S", "price": "12"},
        ],
        [
            {"day": "tomorrow"},
            {"day": "1900-02-29"},
            {"day": "0000-02-29"},
            {"day": "2024-04-31"},
            *(
                {"day": "2024-01-01", **one}
                for one in (
                    {"since": "at noon"},
                    {"since": "2024-01-01T24:00:00"},
                    {"opens": ["9"]},
                    {"lasts": "P"},
                    {"price": "a lot"},
                    {"ticket": "7"},
                )
            ),
        ],
    ),
    (
        Timetable,
        [["2024-01-01T00:00:00Z", "10:00:00"]],
        [["2024-01-01T00:00:00", "10:00:00"], ["2024-01-01T00:00:00Z", "10:00:00Z"]],
    ),
    (Closing, [{"day": "2024-02-29", "at": "2024-01-01T00:00:00Z"}], [{"day": "Monday", "at": "2024-01-01T00:00:00Z"}]),
    (dict[int, str], [{"1": "a", "-20": "b"}, {}], [{"one": "a"}, {"1.5": "a"}]),
    (dict[Color, list[datetime.date]], [{"red": ["2024-01-01"]}], [{"green": []}, {"red": ["soon"]}]),
    (dict[Literal["a", "b"], int] | None, [{"a": 1}, None], [{"c": 1}]),
    (
        Annotated[list[Annotated[int, pydantic.Field(ge=1)]], annotated_types.Len(1, 2)],
        [[1], [1, 2]],
        [[], [0], [1] * 3],
    ),
    (Annotated[int | None, pydantic.Field(ge=1), "how many"], [1, None], [0, "1"]),
    (Annotated[str, pydantic.StringConstraints(pattern=re.compile("^a"), max_length=3)], ["ab"], ["b", "abcd"]),
]


def names(case: Any) -> str:
    return str(getattr(case, "__name__", case)) if not isinstance(case, list) else ""


@pytest.mark.parametrize(("kind", "good", "bad"), CASES, ids=names)
def test_the_schema_allows_what_converts_and_nothing_else(kind: Any, good: list[Any], bad: list[Any]) -> None:
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    # Of the two validators that the tests have, this one knows all formats.
    validator, shape = jsonschema_rs.Draft202012Validator(schema, validate_formats=True), Shape(kind)
    for value in good:
        validator.validate(value)
        assert shape.decode(encode_json(shape.convert(value))) == shape.convert(value)
    for value in bad:
        assert not validator.is_valid(value), value
        with pytest.raises(ShapeError):
            shape.convert(value)


def objects_in(schema: Any) -> list[dict[str, Any]]:
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    found = [one for part in below for one in objects_in(part)]
    return [schema, *found] if isinstance(schema, dict) and "properties" in schema else found


@pytest.mark.parametrize("kind", [Stop, Trip, Person, Cat | Dog, Street, Address], ids=names)
def test_what_is_not_declared_can_not_be_generated(kind: Any) -> None:
    objects = objects_in(schema_of(kind))
    assert objects
    assert all(one["additionalProperties"] is False for one in objects)


def test_descriptions_come_from_annotated_from_docstrings_and_from_pydantic() -> None:
    stop: Any = schema_of(Stop)
    assert stop["description"] == "A place on the way."
    assert stop["properties"]["city"]["description"] == "where it is"
    assert stop["properties"]["nights"]["description"] == "how many nights"
    person: Any = schema_of(Person)
    assert person["properties"]["age"]["description"] == "in years"
    street: Any = schema_of(list[Street])
    assert street["items"]["properties"]["name"]["description"] == "without the number"
    assert "description" not in schema_of(Trip)


def test_a_description_is_found_whatever_stands_around_it() -> None:
    class Stay(msgspec.Struct, rename="camel"):
        num_nights: Annotated[int, "how long"]
        room_names: list[Annotated[str, "a room"]]

    class Guest(TypedDict):
        age: NotRequired[Annotated[int, "in years"]]

    stay: Any = schema_of(Stay)
    assert stay["properties"]["numNights"]["description"] == "how long"
    assert stay["properties"]["roomNames"]["items"]["description"] == "a room"
    guest: Any = schema_of(Guest)
    assert guest["properties"]["age"]["description"] == "in years"


def test_bounds_that_would_not_hold_are_refused() -> None:
    @dataclass
    class Stay:
        nights: Annotated[int, pydantic.Field(ge=1)]

    with pytest.raises(DefinitionError, match=r"Stay\.nights: .* holds in a pydantic model only; use msgspec\.Meta"):
        schema_of(list[Stay])
    with pytest.raises(DefinitionError, match=r"Ge.*can't be told"):
        schema_of(Annotated[Decimal, annotated_types.Ge(Decimal(1))])


def test_a_property_named_title_stays_and_titles_that_repeat_a_class_go() -> None:
    trip: Any = schema_of(Trip)
    (definition,) = [one for one in objects_in(trip) if "stops" in one["properties"]]
    assert "title" in definition["properties"]
    assert "title" not in definition


def test_a_type_without_json_is_refused_by_name() -> None:
    class Opaque:
        pass

    with pytest.raises(DefinitionError, match="Opaque"):
        schema_of(Opaque)


def test_an_error_names_the_path_and_what_came() -> None:
    with pytest.raises(ShapeError, match=r"^stops\[0\]\.nights: Expected `int`, got `str`$") as caught:
        Shape(Trip).decode('{"stops":[{"city":"a","nights":"3"}]}')
    assert caught.value.path == "stops[0].nights"
    with pytest.raises(ShapeError, match="number: Input should be a valid integer"):
        Shape(Street).decode('{"name":"a","number":"three"}')
    with pytest.raises(ShapeError, match="not valid JSON"):
        Shape(Trip).decode("{")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        (Stop("a"), '{"city":"a","nights":1}'),
        (Street(name="a", number=3), '{"name":"a","number":3}'),
        ([Color.RED], '["red"]'),
    ],
)
def test_results_are_told_as_compact_json_and_texts_as_they_are(value: object, text: str) -> None:
    assert encode(value) == text


def test_a_result_without_json_is_an_error() -> None:
    with pytest.raises(ShapeError, match="object can't be told as JSON"):
        encode(object())
