"""Docstrings in the three styles that are in use."""

from __future__ import annotations

import pytest

from espalier.gateway.sdk.docstring import Docstring, read

GOOGLE = """Look up the weather.

    Only for cities
    in Europe.

    Args:
        city: as the locals
            spell it.
        unit (str, optional): C or F: both are fine.
        *more: never told.

    Returns:
        The weather: in words.

    Raises:
        KeyError: never.
    """
NUMPY = """Look up the weather.

    Only for cities
    in Europe.

    Parameters
    ----------
    city : str
        as the locals
        spell it.
    unit : {"C", "F"}, optional
        C or F: both are fine.
    more
        never told.

    Returns
    -------
    str
        The weather: in words.
    """
SPHINX = """Look up the weather.

    Only for cities
    in Europe.

    :param city: as the locals
        spell it.
    :param str unit: C or F: both are fine.
    :param more: never told.
    :returns: the weather: in words.
    :raises KeyError: never.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_each_style_gives_the_description_and_the_parameters(text: str) -> None:
    found = read(text)
    assert found.description == "Look up the weather.\n\nOnly for cities in Europe."
    assert found.parameters == {
        "city": "as the locals spell it.",
        "unit": "C or F: both are fine.",
        "more": "never told.",
    }


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_docstring_says_nothing(text: str | None) -> None:
    assert read(text) == Docstring()


def test_a_text_with_colons_is_a_description() -> None:
    assert read("Note: this\nArgument: is one\n\n- a: b\n").description == "Note: this Argument: is one\n\n- a: b"


def test_the_attributes_of_a_class_are_its_parameters() -> None:
    assert read("A trip.\n\nAttributes:\n    days: how many\n").parameters == {"days": "how many"}
