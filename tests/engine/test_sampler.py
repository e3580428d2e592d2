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
