"""Strict JSON: what parsers disagree on is refused."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from espalier.gateway.errors import ApiError
from espalier.gateway.wire.body import convert, parse


class Inner(Struct):
    size: Annotated[int, Meta(ge=0)]


class Exact(Inner, forbid_unknown_fields=True):
    pass


class Outer(Struct):
    items: list[Inner] = []
    ratio: float = 0.0


def test_an_object_is_parsed() -> None:
    assert parse('{"a": [1, 2.5, null, "\\ud83c\\udf33 ü"]}'.encode()) == {"a": [1, 2.5, None, "🌳 ü"]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xed\xa0\x80"}',  # the same, encoded as if it were a character
        b'{"a": "\xff"}',
        b"\xff\xfe{\x00}\x00",  # UTF-16
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 100_000 + b"}",
        b'{"a": 1} {}',
        b"{'a': 1}",
    ],
)
def test_anything_else_is_a_400(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"items": [{"size": 1}, {"size": -1}]}, "items[1].size"),
        ({"items": [{"size": "1"}]}, "items[0].size"),
        ({"items": [{"size": True}]}, "items[0].size"),
        ({"items": [{"size": 1.5}]}, "items[0].size"),
        ({"items": {}}, "items"),
        ({"ratio": "1"}, "ratio"),
        ({"ratio": 10**400}, "ratio"),
        ({"items": [{}]}, "items[0]"),
        (5, None),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(value: Any, where: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        convert(value, Outer)
    assert caught.value.param == where


def test_a_field_that_the_body_lacks_or_that_it_alone_has_is_named() -> None:
    for value in ({}, {"size": 1, "weight": 2}):
        with pytest.raises(ApiError) as caught:
            convert(value, Exact)
        assert caught.value.param in ("size", "weight") and caught.value.param in caught.value.message
