"""The official JSON-Schema-Test-Suite: every group is right, or stands in exceptions.toml with its reason."""

from __future__ import annotations

import pytest

from espalier.grammar import Grammar, Json, Vocabulary, compile_grammar
from tests.grammar import suite
from tests.grammar.suite import Group

BYTES = Vocabulary([bytes([byte]) for byte in range(256)])
GROUPS = list(suite.groups())
EXCEPTIONS = suite.exceptions()


def compiled(group: Group) -> Grammar:
    constraint = Json(
        group.schema,
        property_order="any",
        white_space="natural",
        documents=dict(group.documents),
        assert_formats=group.assert_formats,
        draft=group.dialect,
    )
    return compile_grammar(constraint, BYTES, ())


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: "/".join(group.key))
def test_a_group_is_judged_as_the_suite_says(group: Group) -> None:
    found = suite.faults(group, compiled)
    reason = EXCEPTIONS.get(group.key)
    if reason is None:
        assert not found, "\n".join(found)
    else:
        assert found, f"passes, so exceptions.toml must no longer list it: {reason}"


def test_every_listed_exception_is_a_group_of_the_suite_and_has_a_reason() -> None:
    keys = [group.key for group in GROUPS]
    assert set(EXCEPTIONS) <= set(keys)
    assert all(EXCEPTIONS.values())


def test_the_suite_is_there_as_a_whole() -> None:
    keys = [group.key for group in GROUPS]
    assert len(set(keys)) == len(keys)
    mandatory = [key for key in keys if key[0] == "draft2020-12" and "/" not in key[1]]
    assert len(mandatory) == 383


def test_most_groups_are_no_exceptions() -> None:
    for draft in suite.DRAFTS:
        files = {group.key for group in GROUPS if group.draft == draft}
        mandatory = {key for key in files if "/" not in key[1]}
        formats = {key for key in files if key[1].startswith("optional/format/")}
        excepted = set(EXCEPTIONS)
        share = 0.0 if draft == "draft2020-12" else 0.01
        assert len(excepted & mandatory) <= share * len(mandatory)
        assert len(excepted & formats) <= 0.1 * len(formats)
