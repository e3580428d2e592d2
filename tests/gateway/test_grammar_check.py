"""`espalier grammar check`: what it tells of good and bad schemas; an independent validator judges the samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from espalier.gateway.cli import main

SCHEMA = {
    "type": "object",
    "title": "an order",
    "properties": {
        "count": {"type": "integer", "minimum": 3},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "note": {"type": "string", "maxLength": 5000, "pattern": "é"},
    },
    "required": ["count", "note"],
    "additionalProperties": False,
    "unknown": 1,
}


def written(folder: Path, text: str) -> str:
    path = folder / "schema.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "options", [[], ["--property-order", "any", "--white-space", "natural"], ["--formats", "--draft", "draft-07"]]
)
def test_samples_satisfy_the_schema(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, json.dumps(SCHEMA))
    assert main(["grammar", "check", path, "--samples", "20", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["samples"]) == 20
    for answer in [told["shortest"], *told["samples"]]:
        jsonschema.validate(json.loads(answer), SCHEMA)
    assert "title" in told["coverage"]["annotations"]
    assert "unknown" in told["coverage"]["ignored"]
    assert {"required", "pattern", "maxItems"} <= set(told["coverage"]["enforced"])
    assert told["states"] > 0


def test_the_report_for_people_names_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grammar", "check", written(tmp_path, json.dumps(SCHEMA))]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == "enforced annotations ignored compiled states shortest sample sample sample".split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "SchemaError: a schema has to be JSON"),
        ('{"properties": {"a": {"type": "something"}}}', "/properties/a"),
        ('{"allOf": [{"maxLength": 3, "type": "string"}, {"minLength": 5}]}', "UnsatisfiableError"),
        ('{"pattern": "("}', "PatternError: pattern '('"),
        ("[" * 600 + "]" * 600, "GrammarTooLargeError: the schema: over the limit nesting = 512"),
    ],
)
def test_a_bad_schema_is_refused_with_its_place(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grammar", "check", written(tmp_path, text)]) == 1
    assert message in capsys.readouterr().err


def test_a_refusal_is_data_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grammar", "check", "--json", written(tmp_path, '{"items": {"minimum": "one"}}')]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["error"], told["path"].startswith("/items")) == ("SchemaError", True)


def test_no_file_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grammar", "check", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_it_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys\nfrom espalier.gateway.cli import main\nmain(sys.argv[1:])\nprint('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "grammar", "check", written(tmp_path, "true"), "--samples", "0"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith("False\n")
