"""Places that requests share: what one found out there holds for all, and is forgotten when it takes too much."""

from __future__ import annotations

import random
from collections.abc import Sequence as Row
from pathlib import Path

import pytest

from espalier import engine as engine_folder
from espalier.engine import atlas as atlas_module
from espalier.engine.atlas import Atlas
from espalier.engine.canonical import Canonical, Forced
from espalier.engine.guide import Guide
from espalier.engine.tokenizer import Tokenizer
from espalier.grammar import Grammar, Json, RejectedError, Sequence, Text, compile_grammar
from tests.engine.test_guide import SCHEMAS, answer

BUNDLED = Path(str(engine_folder.__file__)).parent / "bundled"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(BUNDLED)


def compiled(tokenizer: Tokenizer, name: str) -> Grammar:
    return compile_grammar(Json(SCHEMAS[name]), tokenizer.vocabulary, tokenizer.end_token_ids)


@pytest.mark.parametrize("name", SCHEMAS)
def test_guides_that_share_an_atlas_answer_as_those_that_do_not(tokenizer: Tokenizer, name: str) -> None:
    grammar, canonical = compiled(tokenizer, name), Canonical(tokenizer)
    shared, cost = Atlas(grammar), Guide(grammar, None).closing_cost
    for seed in range(12):
        # The first ones come to new places, the others mostly to known ones.
        budget = cost + 7 * (seed % 6)
        alone = answer(Guide(grammar, canonical), tokenizer, budget, random.Random(seed // 2))
        assert answer(Guide(grammar, canonical, shared), tokenizer, budget, random.Random(seed // 2)) == alone


def test_one_way_and_another_lead_to_one_place(tokenizer: Tokenizer) -> None:
    atlas = Atlas(compiled(tokenizer, "string"))
    ways = [tokenizer.encode(text) for text in ('"one', '"another way')]
    ends = []
    for way in ways:
        place = atlas.start
        for token in way:
            place, _ = atlas.step(place, token)
        ends.append(place)
    assert ends[0] is ends[1]
    assert atlas.start.after[ways[0][0]] is not atlas.start


class Counting(Canonical):
    """Counts how often it is asked."""

    count = 0

    def find(self, before: Row[int], forced: Forced) -> tuple[list[int], int]:
        self.count += 1
        return super().find(before, forced)


def test_what_must_come_is_looked_up_the_second_time(tokenizer: Tokenizer) -> None:
    schema = {"properties": {"kind": {"enum": ["alpha", "beta"]}, "ok": {"const": True}}, "additionalProperties": False}
    grammar = compile_grammar(
        Json(schema | {"required": ["kind", "ok"]}), tokenizer.vocabulary, tokenizer.end_token_ids
    )
    canonical, atlas, prompt = Counting(tokenizer), Atlas(grammar), tokenizer.encode("Say which of them it is, please.")
    asked = []
    for _ in range(2):
        guide, text, before = (
            Guide(grammar, canonical, atlas),
            tokenizer.encode('{"kind":"beta","ok":true}'),
            canonical.count,
        )
        found = guide.jump(prompt, 100)
        while not guide.is_over:
            assert guide.propose(text[len(found)], 100)
            guide.take()
            found.append(text[len(found)])
            found += guide.jump([*prompt, *found], 100)
        assert found == text
        asked.append(canonical.count - before)
    assert asked[0] > 0
    assert asked[1] == 0


def test_a_budget_that_is_too_small_for_what_is_known_is_heeded(tokenizer: Tokenizer) -> None:
    grammar, canonical = compiled(tokenizer, "nested"), Canonical(tokenizer)
    atlas, cost = Atlas(grammar), Guide(grammar, None).closing_cost
    answer(Guide(grammar, canonical, atlas), tokenizer, 300, random.Random(3))
    for budget in range(cost, cost + 4):
        assert len(answer(Guide(grammar, canonical, atlas), tokenizer, budget, random.Random(3))) <= budget


def test_a_token_that_is_not_allowed_leads_nowhere(tokenizer: Tokenizer) -> None:
    atlas = Atlas(compiled(tokenizer, "string"))
    with pytest.raises(RejectedError):
        atlas.step(atlas.start, tokenizer.encode("x")[0])
    assert not atlas.start.after


def test_places_behind_parts_are_nobody_elses(tokenizer: Tokenizer) -> None:
    parts = Sequence((Text(until=b".", part="thought"), Json(SCHEMAS["string"], part="answer")))
    atlas = Atlas(compile_grammar(parts, tokenizer.vocabulary, tokenizer.end_token_ids))
    token = tokenizer.encode("a")[0]
    (one, told), (other, again) = (atlas.step(atlas.start, token) for _ in range(2))
    assert one is not other
    assert told == again
    assert not atlas.start.after


def test_all_is_forgotten_when_it_takes_too_much(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    grammar, canonical = compiled(tokenizer, "nested"), Canonical(tokenizer)
    alone = [answer(Guide(grammar, canonical), tokenizer, 60, random.Random(seed)) for seed in range(8)]
    monkeypatch.setattr(atlas_module, "MOST_BYTES", 20_000)
    atlas = Atlas(grammar)
    for seed in range(8):
        assert answer(Guide(grammar, canonical, atlas), tokenizer, 60, random.Random(seed)) == alone[seed]
        assert 0 < atlas.num_bytes <= 20_000
