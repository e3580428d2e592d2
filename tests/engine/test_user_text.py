"""The exchange of telltale characters: one for one, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes

from espalier.engine.errors import CheckpointError, TemplateError
from espalier.engine.marker import Markers
from espalier.engine.user_text import UserText

MARKERS = Markers(["<|end|>", "[INST]", "EOT", " \n"])
USER_TEXT = UserText(MARKERS)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("<[E aT|\n\\U0é", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("<a", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(DATA)
def test_what_was_exchanged_comes_back(value: Any) -> None:
    exchanged = json.dumps(USER_TEXT.exchanged(value), ensure_ascii=False)
    assert not {"<", "E"} & set(exchanged)
    assert USER_TEXT.restored(exchanged) == json.dumps(value, ensure_ascii=False)


@given(st.text("<|end>[INST]EO \n", max_size=20))
def test_an_exchanged_text_spells_no_marker(text: str) -> None:
    exchanged = USER_TEXT.exchanged(text)
    assert len(exchanged) == len(text) and not any(marker in exchanged for marker in MARKERS.aliases)
    assert USER_TEXT.aliased(exchanged) == text


def test_only_the_templates_markers_become_aliases() -> None:
    rendered = "<|end|>" + USER_TEXT.exchanged("<|end|>EOT") + "EOT"
    assert USER_TEXT.aliased(rendered) == MARKERS.aliases["<|end|>"] + "<|end|>EOT" + MARKERS.aliases["EOT"]


def test_a_vocabulary_without_markers_needs_no_exchange() -> None:
    plain = UserText(Markers([]))
    assert plain.exchanged({"<a>": ["<"]}) == {"<a>": ["<"]} and plain.aliased("<a>") == plain.restored("<a>") == "<a>"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ x.split('<a>') }}", True),
        ("{{ x.replace('<a>', 'b') }}", True),
        ("{{ x.replace('b', '<a>') }}", False),
        ("{{ x | replace('<a>', '') }}", True),
        ("{{ x | default('<a>') }}", False),
        ("{{ '<a>' in x }}", True),
        ("{{ x == '<a>' }}", True),
        ("{{ x in ['b', '<a>'] }}", True),
        ("{{ x.startswith('<' + 'a>') }}", True),
        ("{{ x.startswith('<' ~ 'a>') }}", True),
        ("{{ '<a>' + x }}", False),
        ("<a>", False),
        ("{{ raise_exception('<a>') }}", False),
    ],
)
def test_a_template_is_changed_where_it_searches(source: str, found: bool) -> None:
    parsed = Environment(autoescape=True).parse(source)
    USER_TEXT.exchange_searches(parsed)
    constants = [str(node.value) for node in parsed.find_all(nodes.Const)]
    assert any(letter >= "\U0010ff00" for text in constants for letter in text) is found


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(TemplateError, match="bytes"):
        USER_TEXT.exchanged([b"x"])


def test_more_signs_than_can_be_told_are_refused() -> None:
    with pytest.raises(CheckpointError, match="300"):
        UserText(Markers(chr(0x3041 + 0x2000 + at) for at in range(300)))
