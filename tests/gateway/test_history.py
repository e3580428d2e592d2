"""Messages as templates read them, and which go when a conversation is too long."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.gateway.errors import ApiError
from espalier.gateway.history import drop_oldest, plain_messages
from espalier.gateway.wire.requests import Message


def plain(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return plain_messages(msgspec.convert(messages, list[Message]))


def test_contents_of_all_kinds_become_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, {"text": "c"}]
    for content, text in (("x", "x"), (None, ""), ("", ""), ([], ""), (parts, "abc")):
        assert plain({"role": "user", "content": content}) == [{"role": "user", "content": text}]
    assert plain({"role": "assistant"}) == [{"role": "assistant", "content": ""}]
    refused = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "No."}]}
    assert plain(refused) == [{"role": "assistant", "content": "aNo."}]


def test_arguments_are_objects_where_they_can_be() -> None:
    for given_text, expected in (
        ('{"a": 1}', {"a": 1}),
        ("not json", "not json"),
        ("[1]", "[1]"),
        ("[" * 10**5, "[" * 10**5),
    ):
        call = {"function": {"name": "f", "arguments": given_text}}
        (message,) = plain({"role": "assistant", "tool_calls": [call]})
        assert message["tool_calls"][0]["function"]["arguments"] == expected


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url", 5, None, [], {}])
def test_a_part_that_is_no_text_is_named_by_its_place(kind: Any) -> None:
    with pytest.raises(ApiError) as caught:
        plain({"role": "user", "content": "x"}, {"role": "user", "content": [{"text": "a"}, {"type": kind}]})
    assert caught.value.param == "messages[1].content[1]"


def test_a_text_part_without_text_is_refused() -> None:
    with pytest.raises(ApiError, match=re.escape("messages[0].content[0].text")):
        plain({"role": "user", "content": [{"type": "text", "text": 5}]})


ROLES = st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=12)


@given(ROLES, st.integers(0, 12))
def test_the_fewest_turns_go_that_help(roles: list[str], most: int) -> None:
    messages = [{"role": role, "content": str(at)} for at, role in enumerate(roles)]
    kept = drop_oldest(messages, lambda some: len(some) <= most)
    systems = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    cuts = [at for at, message in enumerate(rest) if at and message["role"] == "user"]
    fitting = [cut for cut in cuts if len(systems) + len(rest) - cut <= most]
    if not fitting:
        assert kept is None
        return
    assert kept is not None
    assert [message for message in kept if message["role"] != "system"] == rest[fitting[0] :]
    assert [message for message in kept if message["role"] == "system"] == systems
    assert [int(message["content"]) for message in kept] == sorted(int(message["content"]) for message in kept)


def test_few_renderings_are_asked_for() -> None:
    messages = [{"role": role} for _ in range(5000) for role in ("user", "assistant")]
    sizes: list[int] = []

    def fits(some: list[dict[str, Any]]) -> bool:
        sizes.append(len(some))
        return len(some) <= 100

    kept = drop_oldest(messages, fits)
    assert kept is not None and len(kept) == 100 and len(sizes) < 20
