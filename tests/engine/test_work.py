"""A step's work and the rows of its logits."""

from __future__ import annotations

from espalier.engine.work import Work, logit_rows
from tests.engine.test_scheduler import sequence


def test_rows_of_logits_are_one_of_each_work_and_one_of_each_draft() -> None:
    a, b, c = (sequence(name, [1, 2, 3, 4]) for name in "abc")
    plan = [Work(a, 0, 2), Work(b, 2, 6, (7, 8)), Work(c, 3, 4)]
    assert logit_rows(plan).tolist() == [3, 4, 5, 6]
    assert logit_rows([Work(a, 0, 2), Work(c, 3, 4)]).tolist() == [2]
    assert plan[1].without_drafts() == Work(b, 2, 4)
