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
from espalier.grammar import (
    AnyConstraint,
    Grammar,
    Json,
    Literal,
    OneOf,
    Piece,
    Regex,
    RejectedError,
    Repeat,
    Sequence,
    Text,
    compile_grammar,
)
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
    assert atlas.start.after[ways[0][0]][0] is not atlas.start


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


CALL = Sequence((Literal(b"<call>", part="begin"), Json(SCHEMAS["nested"], part="arguments"), Literal(b"</call>")))
PARTS: dict[str, AnyConstraint] = {
    "text and answer": Sequence((Text(until=b".", part="thought"), Json(SCHEMAS["string"], part="answer"))),
    "calls or an answer": OneOf((Repeat(CALL, 1, 3), Json(SCHEMAS["nested"], part="answer"))),
    "readings that hold much back": OneOf((Regex("[ab]{1,60}c", part="one"), Regex("[ab]{1,60}d", part="other"))),
}


@pytest.mark.parametrize("name", PARTS)
def test_who_shares_places_is_told_the_same_parts(tokenizer: Tokenizer, name: str) -> None:
    grammar, canonical = (
        compile_grammar(PARTS[name], tokenizer.vocabulary, tokenizer.end_token_ids),
        Canonical(tokenizer),
    )
    shared, cost = Atlas(grammar), Guide(grammar, None).closing_cost
    for seed in range(24):
        said = []
        for atlas in (None, shared):
            guide = Guide(grammar, canonical, atlas)
            tokens = answer(guide, tokenizer, cost + 7 * (seed % 6), random.Random(seed // 2))
            said.append((tokens, [guide.told() for _ in tokens], guide.unsettled()))
        assert said[0] == said[1]
        parts = [event for told in said[0][1] for event in told]
        whole = b"".join(event.text for event in parts if isinstance(event, Piece))
        assert whole or not said[0][0]


def test_behind_parts_one_way_and_another_lead_to_one_place(tokenizer: Tokenizer) -> None:
    atlas = Atlas(compile_grammar(PARTS["text and answer"], tokenizer.vocabulary, tokenizer.end_token_ids))
    ends = []
    for text in ("one", "another way"):
        place = atlas.start
        for token in tokenizer.encode(text):
            place, told = atlas.step(place, token)
            assert told
        ends.append(place)
    assert ends[0] is ends[1]


def test_places_where_much_is_yet_to_be_told_are_their_ways_own(tokenizer: Tokenizer) -> None:
    name = "readings that hold much back"
    atlas = Atlas(compile_grammar(PARTS[name], tokenizer.vocabulary, tokenizer.end_token_ids))
    ends = []
    for text in ("ab" * 20, "ba" * 20):
        place = atlas.start
        for token in tokenizer.encode(text):
            place, told = atlas.step(place, token)
            assert not told
        ends.append(place)
    assert ends[0] is not ends[1]


def test_all_is_forgotten_when_it_takes_too_much(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    grammar, canonical = compiled(tokenizer, "nested"), Canonical(tokenizer)
    alone = [answer(Guide(grammar, canonical), tokenizer, 60, random.Random(seed)) for seed in range(8)]
    monkeypatch.setattr(atlas_module, "MOST_BYTES", 20_000)
    atlas = Atlas(grammar)
    for seed in range(8):
        assert answer(Guide(grammar, canonical, atlas), tokenizer, 60, random.Random(seed)) == alone[seed]
        assert 0 < atlas.num_bytes <= 20_000
