"""The openai package against a real server on loopback: what it sends is read, what it reads is there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import uvicorn

from espalier.engine.errors import ContextOverflowError, EngineDiedError
from espalier.engine.messages import Output, TokenLogprob, TopLogprob, Usage
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.http_protocol import BoundedProtocol
from espalier.gateway.scripted_client import READY, ScriptedClient, answer
from espalier.gateway.server import Server
from tests.gateway.live_server import served

KEY = "key of ada"
HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(make_api: Any) -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients of servers with a script each; they end with the test."""
    opened: list[Any] = []

    def make(script: Any = None, **more: Any) -> openai.OpenAI:
        api = make_api(script or answer(["Hel", "lo", " there"], cached_tokens=2), **more)
        serving = served(api.app)
        url = serving.__enter__()
        made = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        opened.extend([serving, made])
        return made

    yield make
    for item in reversed(opened):
        item.close() if isinstance(item, openai.OpenAI) else item.__exit__(None, None, None)


def test_a_chat_is_answered(client: Any) -> None:
    answered = client().chat.completions.create(model="tiny", messages=HELLO, temperature=0.5, user="ada", store=False)
    assert answered.choices[0].message.content == "Hello there"
    assert answered.choices[0].finish_reason == "stop"
    assert answered.usage.prompt_tokens_details.cached_tokens == 2 and answered.usage.completion_tokens == 3


def test_a_chat_is_streamed(client: Any) -> None:
    chunks = list(
        client().chat.completions.create(
            model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *texts, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in texts) == "Hello there"
    assert texts[0].choices[0].delta.role == "assistant" and texts[1].choices[0].delta.role is None
    assert last.usage.total_tokens == last.usage.prompt_tokens + 3 and not last.choices


def test_the_client_s_own_accumulator_of_a_stream_works(client: Any) -> None:
    with client().chat.completions.stream(model="tiny", messages=HELLO, n=2) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert [choice.message.content for choice in final.choices] == ["Hello there"] * 2


def test_log_probabilities_are_read(client: Any) -> None:
    def script(request: Any) -> Any:
        yield Output(
            request.request_id,
            "a",
            [70],
            [TokenLogprob(70, -0.5, (TopLogprob(70, -0.5),))],
            "stop",
            usage=Usage(1, 0, 1),
        )

    answered = client(script).chat.completions.create(model="tiny", messages=HELLO, logprobs=True, top_logprobs=1)
    (entry,) = answered.choices[0].logprobs.content
    assert entry.logprob == -0.5 and entry.top_logprobs[0].bytes == entry.bytes


def test_completions_are_answered_and_streamed(client: Any) -> None:
    made = client()
    answered = made.completions.create(model="tiny", prompt=["a", "b"], max_tokens=8, echo=True)
    assert [choice.text for choice in answered.choices] == ["aHello there", "bHello there"]
    chunks = list(made.completions.create(model="tiny", prompt="a", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello there"


def test_models_are_listed(client: Any) -> None:
    made = client()
    assert [model.id for model in made.models.list()] == ["tiny"]
    assert made.models.retrieve("tiny").owned_by == "espalier"


def test_a_raw_response_has_the_request_s_id(client: Any) -> None:
    raw = client().chat.completions.with_raw_response.create(
        model="tiny", messages=HELLO, extra_headers={"x-request-id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine" and raw.parse().choices
    assert raw.parse()._request_id == "mine"


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"messages": []}, openai.BadRequestError, None),
        ({"temperature": 3}, openai.BadRequestError, None),
        ({"extra_body": {"ebnf": "root ::= a"}}, openai.BadRequestError, "unsupported_parameter"),
        ({"extra_body": {"nothing": 1}}, openai.BadRequestError, "unknown_parameter"),
    ],
)
def test_refusals_are_the_client_s_own_classes(client: Any, arguments: Any, error: Any, code: str | None) -> None:
    with pytest.raises(error) as caught:
        client().chat.completions.create(**{"model": "tiny", "messages": HELLO, **arguments})
    assert caught.value.code == code and caught.value.body["message"]


def test_engine_errors_are_the_client_s_own_classes(client: Any) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client(lambda request: [EngineDiedError("it ended")]).chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"] == "1"
    overflow = client(lambda request: [ContextOverflowError("too long", param="messages")])
    with pytest.raises(openai.BadRequestError) as refused:
        overflow.chat.completions.create(model="tiny", messages=HELLO)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]

    stream = client(script).chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert next(iter(stream)).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="it ended"):
        list(stream)


def test_a_retriable_error_is_sent_again_by_the_client_itself(client: Any) -> None:
    failures = iter([EngineDiedError("it ended")])

    def script(request: Any) -> Any:
        return [*failures] or list(answer(["again"])(request))

    answered = client(script).with_options(max_retries=1).chat.completions.create(model="tiny", messages=HELLO)
    assert answered.choices[0].message.content == "again"


def test_keys_are_asked_for(client: Any) -> None:
    made = client(keys=KeyRing((("ada", digest(KEY)),)))
    assert made.chat.completions.create(model="tiny", messages=HELLO).choices
    with pytest.raises(openai.AuthenticationError) as caught:
        made.with_options(api_key="another").chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.code == "invalid_api_key"


@pytest.mark.anyio
async def test_the_asynchronous_client_works_too_and_leaving_aborts(make_api: Any) -> None:
    gate = asyncio.Semaphore(3)
    api = make_api(engine=ScriptedClient(answer(["a"] * 50), ready=READY, gate=gate))
    server = Server(uvicorn.Config(api.app, http=BoundedProtocol, ws="none", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        stream = await made.chat.completions.create(model="tiny", messages=HELLO, stream=True)
        chunks = [await anext(stream) for _ in range(3)]
        await stream.close()
        for _ in range(1000):
            if api.engine.aborted:
                break
            await asyncio.sleep(0.005)
    server.should_exit = True
    await running
    listener.close()
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["a"] * 3
    assert api.engine.aborted == [api.engine.requests[0].request_id]
