"""The table of parameters agrees with the structs, and every refusal names its parameter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from espalier.gateway.errors import ApiError
from espalier.gateway.parameters import HONOURED, REFUSED, REFUSED_IN, WITHOUT_EFFECT, WITHOUT_EFFECT_IN, select
from espalier.gateway.wire.messages import CountRequest, MessagesRequest
from espalier.gateway.wire.requests import ChatRequest, CompletionRequest
from espalier.gateway.wire.responses import ResponsesRequest

# What openai-python's chat.completions.create and completions.create may send.
OPENAI = (
    "messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "max_tokens metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
).split()
OPENAI_TEXT = (
    "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream "
    "stream_options suffix temperature top_p user"
).split()
OPENAI_RESPONSES = (
    "access_programs background background_options context_management conversation image include input instructions "
    "max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt "
    "prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store "
    "stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user"
).split()
# What anthropic's messages.create may send.
ANTHROPIC = (
    "max_tokens messages model cache_control container diagnostics inference_geo metadata output_config service_tier "
    "speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p user_profile_id workspace_id"
).split()
KINDS = {
    "chat": ChatRequest,
    "completions": CompletionRequest,
    "responses": ResponsesRequest,
    "messages": MessagesRequest,
    "count_tokens": CountRequest,
}


@pytest.mark.parametrize(("route", "kind"), KINDS.items())
def test_what_is_honoured_is_what_the_struct_reads(route: str, kind: type[msgspec.Struct]) -> None:
    assert set(kind.__struct_fields__) == HONOURED[route]


def test_a_parameter_stands_in_one_list() -> None:
    for route in ("chat", "completions"):
        assert not HONOURED[route] & WITHOUT_EFFECT and not HONOURED[route] & set(REFUSED)
    for route, names in HONOURED.items():
        without, refused = WITHOUT_EFFECT_IN.get(route, frozenset()), set(REFUSED_IN.get(route, ()))
        assert not names & without and not names & refused and not without & refused
    assert not WITHOUT_EFFECT & set(REFUSED)


@pytest.mark.parametrize(
    ("route", "names"),
    [("chat", OPENAI), ("completions", OPENAI_TEXT), ("responses", OPENAI_RESPONSES), ("messages", ANTHROPIC)],
)
def test_every_parameter_of_the_client_is_in_the_table(route: str, names: list[str]) -> None:
    known = WITHOUT_EFFECT | WITHOUT_EFFECT_IN.get(route, frozenset()) | set(REFUSED) | set(REFUSED_IN.get(route, ()))
    assert set(names) <= HONOURED[route] | known


@pytest.mark.parametrize(("route", "name"), [(route, name) for route, table in REFUSED_IN.items() for name in table])
def test_what_one_route_refuses_is_named(route: str, name: str) -> None:
    assert select({name: None}, route) == {}
    for neutral in REFUSED_IN[route][name].neutral:
        assert select({name: neutral}, route) == {}
    with pytest.raises(ApiError) as caught:
        select({name: {"type": "other"}}, route)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, name, "unsupported_parameter")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_parameter_is_named_unless_it_changes_nothing(name: str) -> None:
    assert select({name: None}, "chat") == {}
    for neutral in REFUSED[name].neutral:
        assert select({name: neutral}, "chat") == {}
    with pytest.raises(ApiError) as caught:
        select({name: {"type": "other"}}, "chat")
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, name, "unsupported_parameter")
    assert name in caught.value.message


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_what_has_no_effect_is_taken_out(name: str) -> None:
    assert select({name: "anything"}, "chat") == {}


@pytest.mark.parametrize("value", [0, 1.0, "1", True])
def test_a_neutral_value_is_neutral_in_its_own_type_only(value: Any) -> None:
    with pytest.raises(ApiError):
        select({"best_of": value}, "completions")


def test_a_long_unknown_name_is_cut() -> None:
    with pytest.raises(ApiError) as caught:
        select({"x" * 10_000: 1}, "chat")
    assert caught.value.param == "x" * 64 and len(caught.value.message) < 200


def test_parameters_of_chat_are_unknown_to_completions() -> None:
    with pytest.raises(ApiError):
        select({"messages": []}, "completions")
