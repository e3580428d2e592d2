"""The model's defaults where a request is silent, and the server's limits by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from espalier.gateway.errors import ApiError
from espalier.gateway.options import GatewayOptions
from espalier.gateway.sampling import Defaults, sampling_params
from espalier.gateway.wire.requests import ChatRequest

OPTIONS = GatewayOptions()
GREEDY = Defaults(temperature=0.0)


def chat(**fields: Any) -> ChatRequest:
    return msgspec.convert({"messages": [], **fields}, ChatRequest)


def test_the_generation_config_is_read(tmp_path: Path) -> None:
    assert Defaults.load(tmp_path) == Defaults()
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"temperature": 0.6, "top_k": 20, "top_p": None, "do_sample": True, "eos_token_id": 2}))
    assert Defaults.load(tmp_path) == Defaults(temperature=0.6, top_k=20)
    file.write_text(json.dumps({"temperature": 0.6, "top_k": 20, "do_sample": False}))
    assert Defaults.load(tmp_path) == GREEDY


def test_a_request_s_own_values_win_over_the_model_s() -> None:
    defaults = Defaults(temperature=0.6, top_p=0.9, top_k=20)
    silent = sampling_params(chat(), defaults, OPTIONS)
    assert (silent.temperature, silent.top_p, silent.top_k) == (0.6, 0.9, 20)
    told = sampling_params(chat(temperature=0, top_p=1, top_k=-1), defaults, OPTIONS)
    assert (told.temperature, told.top_p, told.top_k) == (0, 1, 0)


def test_both_names_of_the_token_limit_work() -> None:
    for fields, limit in (
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
    ):
        assert sampling_params(chat(**fields), GREEDY, OPTIONS).max_tokens == limit


@pytest.mark.parametrize(
    ("fields", "param", "limit"),
    [
        ({"n": 17}, "n", "max_n"),
        ({"stop": ["x"] * 17}, "stop", "max_stop"),
        ({"stop": ["a", ""]}, "stop", "empty"),
        ({"stop": ""}, "stop", "empty"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "max_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs", "logprobs"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "100"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "token id"),
        ({"logit_bias": {"-1": 1}}, "logit_bias", "token id"),
        ({"logit_bias": {"٣": 1}}, "logit_bias", "token id"),
    ],
)
def test_a_limit_is_told_by_its_name(fields: dict[str, Any], param: str, limit: str) -> None:
    with pytest.raises(ApiError) as caught:
        sampling_params(chat(**fields), GREEDY, OPTIONS)
    assert caught.value.param == param and limit in caught.value.message
