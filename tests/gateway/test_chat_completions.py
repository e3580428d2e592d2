"""POST /v1/chat/completions: what an answer and a stream hold, and what reaches the engine."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.errors import ContextOverflowError, EngineDiedError, EngineError, OverloadedError
from espalier.engine.messages import Output, TokenLogprob, TopLogprob, Usage
from espalier.gateway.engine_client import DrainingError
from espalier.gateway.scripted_client import ScriptedClient, answer

pytestmark = pytest.mark.anyio
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def events(response: httpx.Response) -> list[Any]:
    """The chunks of a stream, its form checked."""
    assert response.headers["content-type"].startswith("text/event-stream")
    *blocks, last, rest = response.text.split("\n\n")
    assert last == "data: [DONE]" and not rest
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


async def test_an_answer_has_every_field_that_clients_read(api: Any) -> None:
    body = (await api.chat()).json()
    choice = body["choices"][0]
    assert body["id"].startswith("chatcmpl-") and body["object"] == "chat.completion" and body["model"] == "tiny"
    assert isinstance(body["created"], int)
    assert choice["message"]["role"] == "assistant" and choice["message"]["content"] == "Hello there"
    assert choice["message"]["refusal"] is None and choice["logprobs"] is None
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    prompt = len(api.engine.requests[0].token_ids)
    assert body["usage"]["prompt_tokens"] == prompt and body["usage"]["total_tokens"] == prompt + 3
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 2, "audio_tokens": 0, "cache_write_tokens": 1}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_the_prompt_is_what_the_template_writes(api: Any, folder: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    await api.post("/v1/chat/completions", messages=messages)
    template = ChatTemplate.load(folder, api.tokenizer)
    assert template is not None
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert api.engine.requests[0].token_ids == template.encode(plain)


async def test_the_role_developer_is_a_system_message(api: Any) -> None:
    for role in ("developer", "system"):
        await api.post(
            "/v1/chat/completions", messages=[{"role": role, "content": "x"}, {"role": "user", "content": "y"}]
        )
    first, second = api.engine.requests
    assert first.token_ids == second.token_ids


async def test_a_stream_says_the_role_once_then_text_then_the_reason(api: Any) -> None:
    chunks = events(await api.chat(stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [{"role": "assistant", "content": "Hel"}, {"content": "lo"}, {"content": " there"}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)


async def test_include_usage_adds_a_last_chunk_and_nulls_before_it(api: Any) -> None:
    *chunks, last = events(await api.chat(stream=True, stream_options={"include_usage": True}))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 3
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


async def test_continuous_usage_counts_along(api: Any) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = events(await api.chat(stream=True, stream_options=options))
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 3, 3]


async def test_n_answers_have_seeds_of_their_own_and_one_prompt_in_the_usage(api: Any) -> None:
    body = (await api.chat(n=3, seed=7)).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [request.params.seed for request in api.engine.requests] == [7, 8, 9]
    assert body["usage"]["prompt_tokens"] == len(api.engine.requests[0].token_ids)
    assert body["usage"]["completion_tokens"] == 9


async def test_the_first_chunk_of_several_answers_holds_index_0(make_api: Any) -> None:
    def script(request: Any) -> Any:
        # The answer at 0 is the slowest to begin.
        waits = [Output(request_id=request.request_id, usage=Usage(1, 0, 0))] * (3 if request.params.seed == 1 else 0)
        return [*waits, *answer(["x"])(request)]

    chunks = events(await make_api(script).chat(n=3, seed=1, stream=True))
    assert chunks[0]["choices"][0]["index"] == 0
    ended = [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["finish_reason"]]
    assert sorted(ended) == [0, 1, 2]


async def test_log_probabilities_hold_tokens_bytes_and_alternatives(make_api: Any, tokenizer: Any) -> None:
    (token_id,) = tokenizer.encode("a")
    entry = TokenLogprob(token_id, -0.5, (TopLogprob(token_id, -0.5), TopLogprob(token_id + 1, float("-inf"))))

    def script(request: Any) -> Any:
        usage = Usage(1, 0, 1)
        yield Output(request.request_id, "a", [token_id], [entry], "stop", usage=usage)

    api = make_api(script)
    response = await api.chat(logprobs=True, top_logprobs=2)
    (content,) = response.json()["choices"][0]["logprobs"]["content"]
    assert (content["token"], content["logprob"], content["bytes"]) == ("a", -0.5, [97])
    assert [top["logprob"] for top in content["top_logprobs"]] == [-0.5, -9999.0]
    chunk, last = events(await api.chat(logprobs=True, top_logprobs=2, stream=True))
    assert last["choices"][0]["finish_reason"] == "stop"
    assert chunk["choices"][0]["logprobs"]["content"] == [content]
    assert [request.params.logprobs for request in api.engine.requests] == [2, 2]


async def test_sampling_parameters_reach_the_engine(api: Any) -> None:
    await api.chat(
        temperature=0.5, top_p=0.9, top_k=40, min_p=0.1, seed=5, max_completion_tokens=9, min_tokens=2, stop=["a", "b"],
        presence_penalty=0.1, frequency_penalty=0.2, repetition_penalty=1.1, logit_bias={"7": -100}, ignore_eos=True,
        stop_token_ids=[3], include_stop_str_in_output=True, skip_special_tokens=False, cache_salt="s",
    )  # fmt: skip
    (request,) = api.engine.requests
    params = request.params
    assert (params.temperature, params.top_p, params.top_k, params.min_p, params.seed) == (0.5, 0.9, 40, 0.1, 5)
    assert (params.max_tokens, params.min_tokens, params.stop, params.stop_token_ids) == (9, 2, ("a", "b"), (3,))
    assert (params.presence_penalty, params.frequency_penalty, params.repetition_penalty) == (0.1, 0.2, 1.1)
    assert params.logit_bias == ((7, -100.0),) and params.ignore_eos and params.include_stop_text
    assert not params.skip_special_tokens and request.cache_salt == "s"


async def test_null_means_absent_for_every_optional_parameter(api: Any) -> None:
    names = "temperature top_p n stop stream stream_options seed tools tool_choice response_format logit_bias logprobs "
    names += "top_logprobs max_tokens max_completion_tokens user metadata store model presence_penalty functions"
    assert (await api.chat(**dict.fromkeys(names.split()))).status_code == 200


async def test_a_replayed_history_with_tools_is_read(api: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}, "index": 0}
    extras: dict[str, Any] = {
        "refusal": None,
        "annotations": [],
        "provider_specific_fields": {},
        "audio": None,
        "function_call": None,
    }
    messages = [
        {"role": "user", "content": "Look a up."},
        {"role": "assistant", "tool_calls": [call], **extras},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
        {"role": "assistant", "content": "", "reasoning_content": "It is 1."},
        {"role": "user", "content": "Thanks."},
    ]
    response = await api.post("/v1/chat/completions", messages=messages, tool_choice="none", tools=[TOOL])
    assert response.status_code == 200
    assert "look_up" in api.tokenizer.decode(api.engine.requests[0].token_ids)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (EngineDiedError("it ended"), 503, "engine_died"),
        (OverloadedError("too many wait"), 503, "overloaded"),
        (DrainingError("the server is shutting down"), 503, "draining"),
        (ContextOverflowError("too long", param="messages"), 400, "context_length_exceeded"),
        (EngineError("/root/secret.py at 0x7f00"), 500, "engine_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_error_before_the_first_token_is_a_status(
    make_api: Any, failure: EngineError, status: int, code: str, stream: bool
) -> None:
    response = await make_api(lambda request: [failure]).chat(stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in response.headers) == failure.retriable
    assert ("x-should-retry" in response.headers) == (status == 500)
    assert "secret" not in response.text and "0x" not in response.text


async def test_an_error_in_the_middle_of_a_stream_is_its_last_event(make_api: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]

    response = await make_api(script).chat(stream=True)
    first, last, rest = response.text.split("\n\n")
    assert response.status_code == 200 and json.loads(first[6:])["choices"] and not rest
    error = json.loads(last[6:])["error"]
    assert error == {"message": "it ended", "type": "service_unavailable_error", "param": None, "code": "engine_died"}


async def test_an_answer_that_the_server_aborted_is_no_answer(make_api: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, finish_reason="abort", usage=Usage(1, 0, 0))]

    response = await make_api(script).chat()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "aborted")


async def test_an_engine_that_is_not_ready_is_a_503(make_api: Any) -> None:
    response = await make_api(engine=ScriptedClient(ready=None)).chat()
    assert response.status_code == 503 and response.headers["retry-after"] == "1"


async def test_an_unknown_model_is_a_404(api: Any) -> None:
    response = await api.chat(model="gpt-9")
    assert response.status_code == 404
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == ("model_not_found", "model")
