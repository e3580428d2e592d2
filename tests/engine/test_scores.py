"""Which rows are chosen from, of logits that lie in groups."""

from __future__ import annotations

from typing import Any

import torch

from espalier.engine.chooser import Chooser
from espalier.engine.messages import Generate, SamplingParams
from espalier.engine.output_head import Group
from espalier.engine.sampler import Sampler
from espalier.engine.scores import Lead, Scores
from espalier.engine.sequence import Sequence
from espalier.engine.work import Work


def plan() -> list[Work]:
    """Rows 0 to 6: of `a` the first three, of `b` one, of `c` the rest."""
    ends = {"a": (9, 8), "b": (), "c": (7, 6)}
    return [Work(greedy(name), 0, 2 + len(drafts), drafts) for name, drafts in ends.items()]


def greedy(name: str) -> Sequence:
    request = Generate(name, [1, 2], SamplingParams(temperature=0))
    return Sequence(request, max_len=20, seed=0, arrival=0, now_s=0.0)


def scores(*groups: list[int]) -> Scores:
    # The best token of row r is 10 + r.
    logits = torch.eye(20)[10:]
    return Scores(Chooser(Sampler((0,)), 1), [Group(rows, logits[rows]) for rows in groups], plan())


def chosen(drawn: list[Any]) -> list[int]:
    return [one.token_id for one in drawn]


def test_each_work_gets_the_token_of_its_own_row_however_rows_are_grouped() -> None:
    for groups in ([[0, 1, 2, 3, 4, 5, 6]], [[1, 2, 4], [0, 3, 5, 6]], [[0], [1, 2, 3, 4, 5, 6]]):
        found = scores(*groups)
        assert chosen(found.first()) == [10, 13, 14]
        a, c = found.leads()
        behind = [Lead(a.work, a.row, 2), Lead(c.work, c.row, 1)]
        assert chosen(found.behind(behind)) == [12, 15]
        assert chosen(found.behind(behind[1:])) == [15]
        assert found.behind([]) == []


def test_a_lead_goes_on_where_all_that_its_request_got_was_drafted() -> None:
    work = plan()[0]
    lead = Lead(work, 3)
    assert lead.followed(0) is None
    work.sequence.append(9)
    next_lead = lead.followed(1)
    assert next_lead == Lead(work, 3, 1)
    work.sequence.append(5)
    assert next_lead.followed(1) is None
    # Another token came as well.
    assert lead.followed(1) is None
