"""The judge of the suite, judged: by an independent validator in the place of our grammar, and by wrong ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import specification_with

from espalier.grammar.errors import RejectedError, SchemaError, UnsatisfiableError
from tests.grammar import suite
from tests.grammar.suite import Group, Instance


class Whole:
    """A grammar, and its cursor, of any text; complete where `judge` says so."""

    def __init__(self, validator: Any, most: int | None = None) -> None:
        self.validator, self.most, self.text = validator, most, b""

    def start(self) -> Whole:
        return Whole(self.validator, self.most)

    def accept_bytes(self, text: bytes, /) -> None:
        self.text += text
        if self.most is not None and len(self.text) > self.most:
            raise RejectedError("too long")

    def is_complete(self) -> bool:
        try:
            return bool(self.validator.is_valid(json.loads(self.text)))
        except re.error:  # an ECMA-262 pattern that Python's dialect lacks
            return False


def judged(schema: Any, tests: list[tuple[Any, bool]], found: Any) -> list[str]:
    def compiled(_: Group) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    instances = tuple(Instance("", data, valid) for data, valid in tests)
    return suite.faults(Group("draft2020-12", "type", "", schema, instances, {}), compiled)


def test_the_judge_finds_what_is_wrong() -> None:
    integers = Whole(Draft202012Validator({"type": "integer"}))
    assert judged({}, [(1, True), ("a", False)], integers) == []
    assert judged({}, [(1, False)], integers) == ["accepts invalid 1 ()"]
    assert judged({}, [("é", True)], integers) == ['rejects valid "é" ()']
    assert judged({}, [(123, True)], Whole(integers.validator, most=2)) == ["rejects valid 123 ()"]


def test_a_refusal_is_right_only_where_nothing_satisfies_the_schema() -> None:
    assert judged(False, [(1, False)], UnsatisfiableError("nothing")) == []
    assert len(judged({}, [(1, False), (2, True)], UnsatisfiableError("nothing"))) == 1
    assert judged({}, [(1, False)], SchemaError("odd")) == ["SchemaError: odd (at the root of the schema)"]


def test_exceptions_are_read_by_draft_file_and_group(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('[[exception]]\ndraft = "draft4"\nfile = "ref"\ngroup = "g"\nreason = "r"\n')
    assert suite.exceptions(tmp_path / "e.toml") == {("draft4", "ref", "g"): "r"}


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_an_independent_validator_agrees_with_the_suite_as_it_is_loaded(draft: str) -> None:
    uri = f"https://json-schema.org/draft/{suite.DRAFTS[draft]}/schema"
    meta = uri if draft.startswith("draft20") else f"http://json-schema.org/{suite.DRAFTS[draft]}/schema#"

    resources = ((uri, json.loads(text)) for uri, text in suite.documents().items())
    registry: Registry[Any] = Registry().with_contents(resources, default_specification=specification_with(meta))

    def compiled(group: Group) -> Any:
        named = validator_for({"$schema": meta})
        return Whole(validator_for(group.schema, default=named)(group.schema, registry=registry))

    groups = [group for group in suite.groups(draft) if "/" not in group.file]
    wrong = [group.key for group in groups if suite.faults(group, compiled)]
    assert len(wrong) <= 0.01 * len(groups), wrong
