"""Numbers that an argument of a benchmark may be."""

from __future__ import annotations

import pytest

from espalier.gateway.bench.positive import positive
from espalier.gateway.cli import main


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "\u0663"])
@pytest.mark.parametrize("part", ["structured", "engine"])
def test_what_is_no_number_of_passes_is_refused_with_its_name(
    part: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", part, f"--repeat={text}"])
    assert ended.value.code == 2
    assert f"argument --repeat: {text!r} is no whole number of at least 1" in capsys.readouterr().err


def test_a_number_is_taken() -> None:
    assert positive("12") == 12
