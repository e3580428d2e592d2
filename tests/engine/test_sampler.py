"""The sampler: settings of one row never touch another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from espalier.engine.messages import Generate, SamplingParams
from espalier.engine.sampler import Sampler
from espalier.engine.sequence import Sequence

VOCAB = 50


def sequence(*, generated: list[int] | None = None, seed: int = 1, **params: Any) -> Sequence:
    chosen = SamplingParams(**({"temperature": 0.0} | params))
    made = Sequence(Generate("a", [1, 2, 3], chosen), max_len=64, seed=seed, arrival=0, now_s=0.0)
    for token in generated or ():
        made.append(token)
    return made


def draw(sequences: list[Sequence], *, ends: tuple[int, ...] = (0,)) -> list[int]:
    torch.manual_seed(3)
    drawn = Sampler(ends).sample(torch.randn(len(sequences), VOCAB), sequences)
    assert all(each.is_valid for each in drawn)
    return [each.token_id for each in drawn]


def test_greedy_rows_take_their_best_token() -> None:
    torch.manual_seed(3)
    logits = torch.randn(4, VOCAB)
    assert draw([sequence() for _ in range(4)]) == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 1e-4},
        {"temperature": 2.0, "top_p": 0.5, "min_p": 0.1, "top_k": 1000},
        {"repetition_penalty": 1.5},
        {"logit_bias": ((4, 3.0), (5, -100.0))},
        {"min_tokens": 3},
        {"logprobs": 5},
    ],
)
def test_a_neighbour_s_settings_change_nothing(params: dict[str, Any]) -> None:
    plain = draw([sequence(), sequence(), sequence()])
    mixed = draw([sequence(), sequence(**params), sequence()])
    assert (mixed[0], mixed[2]) == (plain[0], plain[2])


def test_a_draw_is_a_function_of_seed_and_position() -> None:
    flat = torch.zeros(1, VOCAB)

    def one(seed: int, generated: list[int]) -> int:
        made = sequence(temperature=1.0, seed=seed, generated=generated)
        return Sampler(()).sample(flat.clone(), [made])[0].token_id

    assert one(1, []) == one(1, [])
    assert len({one(1, list(range(count))) for count in range(30)}) > 10
    assert len({one(seed, []) for seed in range(30)}) > 10


def test_penalties_are_openais_and_the_repetition_penalty_is_ctrls() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, :6] = torch.tensor([5.0, 4.0, 3.0, -1.0, 1.9, 1.0])
    presence = sequence(generated=[10, 10], presence_penalty=2.0, frequency_penalty=0.5)
    logits[0, 10] = 7.0
    # 7 - 2 - 2 x 0.5 = 4 is less than 5: token 0 wins.
    assert Sampler(()).sample(logits.clone(), [presence])[0].token_id == 0
    # Prompt tokens 1, 2, 3 are divided (or multiplied, below zero); token 10 was not seen.
    repeated = sequence(repetition_penalty=2.0)
    assert Sampler(()).sample(logits.clone(), [repeated])[0].token_id == 10
    logits[0, 10] = logits[0, 0] = 0.0
    # 4 / 2 is more than 1.9, 3 / 2 is not.
    assert Sampler(()).sample(logits.clone(), [repeated])[0].token_id == 1


def test_end_tokens_stay_away_until_min_tokens() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, 0], logits[0, 9] = 9.0, 5.0
    assert Sampler((0,)).sample(logits.clone(), [sequence(min_tokens=2)])[0].token_id == 9
    assert Sampler((0,)).sample(logits.clone(), [sequence(min_tokens=2, generated=[4, 4])])[0].token_id == 0


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_row_of_no_numbers_is_said_to_be_one_and_the_others_go_on(broken: float) -> None:
    logits = torch.zeros(3, VOCAB)
    logits[:, 7] = 1.0
    logits[1] = broken
    drawn = Sampler(()).sample(logits, [sequence(), sequence(temperature=1.0, logprobs=2), sequence(logprobs=1)])
    assert [each.is_valid for each in drawn] == [True, False, True]
    assert (drawn[0].token_id, drawn[2].token_id) == (7, 7)
    assert drawn[2].logprob is not None


def test_log_probabilities_are_the_models_own_before_temperature_and_bias() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, 3] = 2.0
    expected = torch.log_softmax(logits, -1)[0]
    made = sequence(logprobs=2, logit_bias=((9, 100.0),), temperature=0.5)
    drawn = Sampler(()).sample(logits, [made])[0]
    assert drawn.token_id == 9
    assert drawn.logprob is not None
    assert drawn.logprob.logprob == pytest.approx(float(expected[9]))
    assert drawn.logprob.top[0].token_id == 3
    assert np.isclose(drawn.logprob.top[0].logprob, float(expected[3]))


def masks_of(*allowed: set[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    words = np.zeros((len(allowed), 2), dtype=np.uint32)
    for row, tokens in enumerate(allowed):
        for token in tokens:
            words[row, token // 32] |= np.uint32(1 << token % 32)
    return words.view(np.int32)


def test_masks_bind_the_rows_that_have_one() -> None:
    logits = torch.zeros(4, VOCAB)
    logits[:, 7] = 9.0
    masks = masks_of({31, 40}, {31, 40}, set(), {49})
    sequences = [sequence(), sequence(), sequence(), sequence(temperature=2.0)]
    drawn = Sampler(()).sample(logits, sequences, masks, np.array([True, False, True, True]))
    assert [each.token_id for each in drawn] == [31, 7, 0, 49]
    assert [each.is_valid for each in drawn] == [True, True, False, True]
    assert [each.is_blocked for each in drawn] == [False, False, True, False]
    # Without the flags all rows are bound; rows of the table may lie any stride apart.
    table = np.zeros((4, 9), dtype=np.int32)
    table[:, 3:5] = masks
    assert [each.token_id for each in Sampler(()).sample(logits, sequences, table[:, 3:5])] == [31, 31, 0, 49]


def test_tokens_beyond_the_masks_words_are_forbidden_to_masked_rows() -> None:
    logits = torch.zeros(2, VOCAB)
    logits[:, 49] = 9.0
    masks = masks_of({3}, {3})[:, :1]
    drawn = Sampler(()).sample(logits, [sequence(), sequence()], masks, np.array([True, False]))
    assert [each.token_id for each in drawn] == [3, 49]


def test_bias_and_min_tokens_meet_a_mask() -> None:
    logits = torch.zeros(3, VOCAB)
    masks = masks_of({0, 5}, {0, 5}, {0})
    banned = sequence(min_tokens=2, logit_bias=((7, 100.0), (0, 50.0), (5, 1.0), (5, 1.0)))
    drawn = Sampler((0,)).sample(logits, [banned, sequence(logit_bias=((0, -1.0),)), sequence(min_tokens=1)], masks)
    assert [each.token_id for each in drawn[:2]] == [5, 5]
    assert (drawn[2].is_valid, drawn[2].is_blocked) == (False, True)


def test_a_token_drawn_again_has_another_number() -> None:
    made, flat = sequence(temperature=1.0), torch.zeros(1, VOCAB)
    tokens = [Sampler(()).sample(flat, [made], attempt=attempt)[0].token_id for attempt in range(20)]
    assert tokens[0] == Sampler(()).sample(flat, [made])[0].token_id
    assert len(set(tokens)) > 8


def test_logits_stay_as_they_are() -> None:
    logits = torch.randn(2, VOCAB)
    before = logits.clone()
    Sampler((0,)).sample(logits, [sequence(repetition_penalty=2.0), sequence(min_tokens=4)])
    assert torch.equal(logits, before)
