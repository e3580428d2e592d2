"""Every range is refused outside and accepted at its ends, by the field's name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from espalier.engine.errors import RequestError
from espalier.engine.messages import SamplingParams
from espalier.engine.sampling_params import check

BAD: list[tuple[str, Any]] = [
    ("temperature", -0.1),
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("top_p", math.nan),
    ("top_k", -1),
    ("min_p", -0.1),
    ("min_p", 1.5),
    ("repetition_penalty", 0.0),
    ("presence_penalty", math.inf),
    ("frequency_penalty", -math.inf),
    ("seed", 2**64 + 1),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("min_tokens", -1),
    ("logprobs", 10**9),
    ("stop", ("",)),
    ("stop", ("x" * 2000,)),
    ("stop", ("x",) * 100),
    ("stop_token_ids", (100,)),
    ("stop_token_ids", (-1,)),
    ("logit_bias", ((100, 1.0),)),
    ("logit_bias", ((1, math.nan),)),
    ("logit_bias", ((1, 1000.0),)),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_value_out_of_range_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        check(SamplingParams(**{field: value}), vocab_size=100)
    assert caught.value.param == field


def test_min_tokens_over_max_tokens_is_refused() -> None:
    with pytest.raises(RequestError, match="min_tokens 5 exceeds max_tokens 4"):
        check(SamplingParams(min_tokens=5, max_tokens=4), vocab_size=100)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    check(SamplingParams(temperature=0, top_p=1, min_p=1, seed=2**63 - 1, max_tokens=1, logprobs=0), vocab_size=100)
    check(SamplingParams(seed=-(2**63), logit_bias=((0, -100.0), (99, 100.0)), stop_token_ids=(0, 99)), vocab_size=100)
