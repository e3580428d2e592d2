"""POST /v1/completions: prompts of all kinds, several at once, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espalier.engine.messages import Output, TokenLogprob, TopLogprob, Usage
from espalier.gateway.errors import ApiError
from espalier.gateway.routes.completions import split_prompts

pytestmark = pytest.mark.anyio


async def test_an_answer_has_every_field_that_clients_read(api: Any) -> None:
    body = (await api.complete()).json()
    assert body["id"].startswith("cmpl-") and body["object"] == "text_completion" and body["model"] == "tiny"
    assert body["choices"] == [
        {"index": 0, "text": "Hello there", "finish_reason": "stop", "logprobs": None, "stop_reason": None}
    ]
    assert body["usage"]["completion_tokens"] == 3
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


async def test_max_tokens_is_16_where_the_request_is_silent(api: Any) -> None:
    await api.complete()
    await api.complete(max_tokens=5)
    assert [request.params.max_tokens for request in api.engine.requests] == [16, 5]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("ab", ["ab"]), (["ab", "c"], ["ab", "c"]), ([5, 6], [[5, 6]]), ([[5], [6, 7]], [[5], [6, 7]])],
)
def test_prompts_are_texts_or_token_ids(prompt: Any, expected: Any) -> None:
    assert split_prompts(prompt) == expected


@pytest.mark.parametrize("prompt", [[], [1, "a"], [[1], 2]])
def test_nothing_and_mixtures_are_no_prompts(prompt: Any) -> None:
    with pytest.raises(ApiError) as caught:
        split_prompts(prompt)
    assert caught.value.param == "prompt"


async def test_several_prompts_are_answered_in_order(api: Any) -> None:
    body = (await api.complete(["a", "b c"], n=2, echo=True)).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in body["choices"]] == ["aHello there"] * 2 + ["b cHello there"] * 2
    lengths = {len(request.token_ids) for request in api.engine.requests}
    assert body["usage"]["prompt_tokens"] == sum(lengths) if len(lengths) == 2 else 2 * lengths.pop()


async def test_a_stream_ends_with_the_reason_and_usage(api: Any) -> None:
    response = await api.complete([5, 6], stream=True, echo=True, stream_options={"include_usage": True})
    *blocks, done, _ = response.text.split("\n\n")
    *chunks, last = [json.loads(block.removeprefix("data: ")) for block in blocks]
    assert done == "data: [DONE]" and last["choices"] == [] and last["usage"]["prompt_tokens"] == 2
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == api.tokenizer.decode([5, 6]) + "Hello there"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]


async def test_log_probabilities_are_parallel_lists(make_api: Any, tokenizer: Any) -> None:
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]

    def script(request: Any) -> Any:
        entries = [TokenLogprob(a, -0.5, (TopLogprob(a, -0.5), TopLogprob(b, -1.5))), TokenLogprob(b, -0.25)]
        yield Output(request.request_id, "ab", [a, b], entries, "length", usage=Usage(1, 0, 2))

    body = (await make_api(script).complete(logprobs=2)).json()
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"a": -0.5, "b": -1.5}, {}],
        "text_offset": [0, 1],
    }


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt"),
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": "a", "echo": True, "logprobs": 1}, "echo"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "messages": []}, "messages"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
    ],
)
async def test_what_is_not_served_is_refused_by_name(api: Any, more: dict[str, Any], param: str) -> None:
    response = await api.post("/v1/completions", **more)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert not api.engine.requests


async def test_neutral_values_of_refused_parameters_pass(api: Any) -> None:
    assert (await api.complete(suffix="", best_of=1, use_beam_search=False)).status_code == 200


async def test_too_long_a_prompt_is_an_error_or_loses_its_oldest_tokens(make_api: Any) -> None:
    prompt = list(range(10, 40))
    response = await make_api(max_context=20).complete(prompt, max_tokens=4)
    assert response.json()["error"]["code"] == "context_length_exceeded"
    cutting = make_api(max_context=20, overflow="truncate")
    response = await cutting.complete(prompt, max_tokens=4)
    assert cutting.engine.requests[0].token_ids == prompt[-16:]
    assert response.json()["espalier"] == {"truncation": {"dropped_messages": 0, "dropped_tokens": 14}}
    assert response.headers["x-espalier-truncated"] == "messages=0, tokens=14"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_key_and_body_is_a_replay(api: Any, stream: bool) -> None:
    key, body = {"Idempotency-Key": "k"}, {"prompt": "Hello", "stream": stream}
    first = await api.http.post("/v1/completions", json=body, headers=key)
    again = await api.http.post("/v1/completions", json=body, headers=key)
    assert first.status_code == 200 and first.content == again.content and len(api.engine.requests) == 1
    other = await api.http.post("/v1/completions", json=body | {"seed": 1}, headers=key)
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_conflict"
    if stream:
        rest = await api.http.post("/v1/completions", json=body, headers=key | {"Last-Event-ID": "0"})
        assert first.content.endswith(rest.content) and 0 < len(rest.content) < len(first.content)
    gone = await api.http.post("/v1/completions", json=body, headers={"Last-Event-ID": "0"})
    assert gone.status_code == 409 and gone.json()["error"]["code"] == "stream_not_found"
