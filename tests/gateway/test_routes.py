"""The small routes: models, tokens, health, metrics, and what is no route."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


async def test_models_lists_the_one_served_with_its_context(api: Any) -> None:
    listed = (await api.http.get("/v1/models")).json()
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == ("tiny", "model", 4096)
    assert (await api.http.get("/v1/models/tiny")).json() == card
    missing = await api.http.get("/v1/models/a/b")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_tokenize_and_detokenize_are_inverse(api: Any) -> None:
    text = "Grüße, <|im_start|> 你好\n"
    told = (await api.post("/tokenize", prompt=text, return_token_strs=True)).json()
    assert told["tokens"] == api.tokenizer.encode(text) and told["count"] == len(told["tokens"])
    assert told["max_model_len"] == 4096 and len(told["token_strs"]) == told["count"]
    assert (await api.post("/detokenize", tokens=told["tokens"])).json() == {"prompt": text}


async def test_tokenize_counts_what_a_conversation_would_have(api: Any) -> None:
    await api.chat("Hello")
    told = await api.post("/tokenize", messages=[{"role": "user", "content": "Hello"}])
    assert told.json()["tokens"] == api.engine.requests[0].token_ids


async def test_tokenize_counts_also_what_is_longer_than_the_context(make_api: Any) -> None:
    assert (await make_api(max_context=8).post("/tokenize", prompt="a b " * 50)).json()["count"] > 8
    assert (await make_api(max_context=8).post("/tokenize", prompt="")).json()["count"] == 0


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": []}, "prompt"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/detokenize", {"tokens": [10**7]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[...]"),
        ("/detokenize", {}, "tokens"),
    ],
)
async def test_tokens_that_are_none_are_refused(api: Any, path: str, body: dict[str, Any], param: str | None) -> None:
    response = await api.post(path, **body)
    assert response.status_code == 400
    assert (response.json()["error"]["param"] or "").split("[")[0] == (param or "").split("[")[0]


async def test_live_and_ready_say_different_things(api: Any) -> None:
    for path in ("/live", "/ready", "/health"):
        assert (await api.http.get(path)).status_code == 200
    api.engine.ready = None  # it loads, or drains
    assert (await api.http.get("/live")).status_code == 200
    response = await api.http.get("/ready")
    assert response.status_code == 503 and "draining" in response.json()["reason"]
    api.engine.is_alive = False  # its step counter is frozen
    assert [(await api.http.get(path)).status_code for path in ("/live", "/ready", "/health")] == [503] * 3


async def test_the_index_names_routes_that_exist(api: Any) -> None:
    for path in (await api.http.get("/")).json()["paths"]:
        assert (await api.http.get(path)).status_code in (200, 405)


async def test_what_is_no_route_is_an_error_of_the_same_shape(api: Any) -> None:
    missing, wrong = await api.http.get("/v2/nothing"), await api.http.get("/v1/chat/completions")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    assert (await api.http.put("/v1/conversations/c/items/i")).headers["allow"] == "DELETE, GET, HEAD"
    for response in (missing, wrong):
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert (await api.http.post("/v1/chat/completions/", json={})).status_code == 404


async def test_no_answer_allows_other_origins(api: Any) -> None:
    response = await api.http.options("/v1/chat/completions", headers={"origin": "https://example.org"})
    assert not [name for name in response.headers if name.startswith("access-control")]
