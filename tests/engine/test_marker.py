"""Which added tokens are markers, and their renaming."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.engine.marker import Markers, is_marker, without_own


@pytest.mark.parametrize(
    ("content", "special", "marker"),
    [
        ("<|im_end|>", True, True),
        ("EOT", True, True),
        ("<think>", False, True),
        ("[INST]", False, True),
        ("{{x}}", False, True),
        ("<a\nb>", False, True),
        ("    ", False, False),
        ("covid", False, False),
        ("->", False, False),
    ],
)
def test_markers_are_special_or_in_brackets(content: str, special: bool, marker: bool) -> None:
    assert is_marker({"content": content, "special": special}) is marker


def test_the_longest_marker_that_is_spelled_is_meant() -> None:
    markers = Markers(["<a>", "<a><b>", "<b>"])
    alias = markers.aliases
    assert len(set(alias.values())) == 3
    assert markers.meant("x<a><b><b>y<a>") == f"x{alias['<a><b>']}{alias['<b>']}y{alias['<a>']}"
    assert Markers([]).meant("<a>") == "<a>"


def test_a_users_text_cannot_spell_an_alias() -> None:
    for alias in Markers(["<a>", "<b>"]).aliases.values():
        assert without_own(alias) != alias and alias not in without_own(alias + alias)


def test_ordinary_text_is_left_alone() -> None:
    for text in ("", "abc", "é北京😀", "\U000f0000", "\ufffe", "\U0010feff"):
        assert without_own(text) == text


def test_renaming_keeps_ids_and_drops_merges_that_make_a_marker() -> None:
    spec: dict[str, Any] = {
        "added_tokens": [{"id": 1, "content": "<a>"}],
        "model": {
            "type": "BPE",
            "unk_token": "<a>",
            "vocab": {"x": 0, "<a>": 1, "<": 2, "a>": 3},
            "merges": [["<", "a>"], "< a>", ["x", "<"]],
        },
    }
    markers = Markers(["<a>"])
    alias = markers.aliases["<a>"]
    assert markers.renamed(spec) == {
        "added_tokens": [{"id": 1, "content": alias}],
        "model": {
            "type": "BPE",
            "unk_token": alias,
            "vocab": {"x": 0, alias: 1, "<": 2, "a>": 3},
            "merges": [["x", "<"]],
        },
    }
    assert spec["model"]["unk_token"] == "<a>"
