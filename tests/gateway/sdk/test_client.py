"""A client against a server that does what WIRE says: what is sent, what is asked again, what is resumed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from espalier.gateway.sdk import (
    Agent,
    Client,
    DefinitionError,
    Query,
    RefusedError,
    Replied,
    Retry,
    SessionBusyError,
    Settings,
    StreamError,
    TextDelta,
    TurnRestarted,
    UnavailableError,
    Usage,
    tool,
    user,
)
from espalier.gateway.sdk.event import ModelEvent
from tests.gateway.sdk.wire_server import WireServer, called, compact, refusal, said

pytestmark = pytest.mark.anyio

QUERY = Query("key-1", (user("Hello"),))


async def asked(client: Client, query: Query = QUERY) -> list[ModelEvent]:
    async with aclosing(client.stream(query)) as events:
        return [event async for event in events]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_the_body_holds_what_was_asked_and_nothing_that_was_not(client_of: Callable[..., Client]) -> None:
    @tool
    def look(where: str) -> str:
        """Look there."""
        return where

    server = WireServer([called(("look", '{"where":"up"}')), said("3")])
    settings = Settings(model="m", temperature=0, max_tokens=9, seed=1, parallel_tool_calls=False)
    await Agent(client_of(server), tools=[look], settings=settings).run("How many?", answer=int)
    first, second = server.bodies
    assert first == {
        "model": "m",
        "messages": [{"role": "user", "content": "How many?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Look there.",
                    "parameters": {
                        "type": "object",
                        "properties": {"where": {"type": "string"}},
                        "required": ["where"],
                        "additionalProperties": False,
                    },
                },
            }
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "int", "schema": {"type": "integer"}, "strict": True},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_completion_tokens": 9,
        "seed": 1,
        "parallel_tool_calls": False,
    }
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "tool_calls": [
                {"type": "function", "id": "call_look_0", "function": {"name": "look", "arguments": '{"where":"up"}'}}
            ],
        },
        {"role": "tool", "content": "up", "tool_call_id": "call_look_0"},
    ]


async def test_a_tool_that_must_be_called_is_named_as_the_wire_wants_it(client_of: Callable[..., Client]) -> None:
    server = WireServer([called(("look", "{}")), said("ok")])
    look = tool(name="look")(lambda: "up")
    await Agent(client_of(server), tools=[look], settings=Settings(tool_choice="look")).run("Look.")
    choices = [body["tool_choice"] for body in server.bodies]
    assert choices == [{"type": "function", "function": {"name": "look"}}, "auto"]


async def test_the_key_and_other_headers_go_with_every_request(client_of: Callable[..., Client]) -> None:
    server = WireServer([said("ok")])
    await asked(client_of(server, api_key="secret", headers={"x-mine": "1"}))
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["x-mine"] == "1"


async def test_a_reply_has_the_usage_that_the_server_tells(client_of: Callable[..., Client]) -> None:
    events = await asked(client_of(WireServer([said("ok")])))
    (reply,) = [event.reply for event in events if isinstance(event, Replied)]
    assert (reply.text, reply.usage, reply.model, reply.id) == ("ok", Usage(10, 4, 5), "wire", "chatcmpl-0")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again_with_the_same_key_and_body(
    client_of: Callable[..., Client], status: int
) -> None:
    waits: list[float] = []
    failures = [refusal(status, "later"), refusal(status, "later", {"retry-after": "7"})]
    server = WireServer([said("ok")], failures=failures)
    assert text_of(await asked(client_of(server, waits=waits))) == "ok"
    assert waits == [0.125, 7.0]
    assert [request.headers["idempotency-key"] for request in server.requests] == ["key-1"] * 3


async def test_a_server_that_is_not_there_yet_is_waited_for(client_of: Callable[..., Client]) -> None:
    waits: list[float] = []
    assert text_of(await asked(client_of(WireServer([said("ok")]), [-1, -1, -1], waits))) == "ok"
    assert waits == [0.125, 0.25, 0.5]


async def test_who_waits_is_told_why(client_of: Callable[..., Client], caplog: pytest.LogCaptureFixture) -> None:
    await asked(client_of(WireServer([said("ok")]), [-1, -1]))
    assert caplog.messages == []
    await asked(client_of(WireServer([said("ok")]), [-1, -1, -1, -1]))
    assert caplog.messages == ["no connection to http://test: refused; asking again in 0.5 s"]


async def test_when_all_attempts_are_used_the_last_failure_is_raised(client_of: Callable[..., Client]) -> None:
    with pytest.raises(UnavailableError, match="no connection to http://test: refused"):
        await asked(client_of(WireServer([]), [-1] * 9, retry=Retry(attempts=3)))
    server = WireServer([], failures=[refusal(503, "draining") for _ in range(3)])
    with pytest.raises(UnavailableError, match=r"this is draining \(status 503\)"):
        await asked(client_of(server, retry=Retry(attempts=3)))
    busy = WireServer([], failures=[refusal(409, "session_busy") for _ in range(3)])
    with pytest.raises(SessionBusyError):
        await asked(client_of(busy, retry=Retry(attempts=3)))


@pytest.mark.parametrize(
    "failure",
    [
        refusal(400, "context_length_exceeded"),
        refusal(401, "invalid_api_key"),
        refusal(412, "turn_mismatch"),
        refusal(409, "idempotency_conflict", {"x-should-retry": "false"}),
    ],
    ids=lambda answer: str(answer.status_code),
)
async def test_a_refusal_is_raised_at_once(client_of: Callable[..., Client], failure: Response) -> None:
    server = WireServer([], failures=[failure])
    with pytest.raises(RefusedError) as caught:
        await asked(client_of(server))
    assert caught.value.status == failure.status_code
    assert len(server.requests) == 1


async def test_the_same_key_with_another_body_is_refused(client_of: Callable[..., Client]) -> None:
    client = client_of(WireServer([said("ok")]))
    await asked(client)
    assert text_of(await asked(client)) == "ok"  # the same again is a replay: the script has only one line
    with pytest.raises(RefusedError, match="idempotency_conflict"):
        await asked(client, Query("key-1", (user("Something else"),)))


@pytest.mark.parametrize("is_careless", [False, True])
async def test_a_turn_that_the_server_lost_begins_anew_and_says_so(
    client_of: Callable[..., Client], is_careless: bool
) -> None:
    server = WireServer([said("lost ", "words"), said("new ", "words", "!")], is_careless=is_careless)
    events: list[ModelEvent] = []
    async with aclosing(client_of(server, [400]).stream(QUERY)) as stream:
        async for event in stream:
            events.append(event)
            if event == TextDelta("lost "):
                server.turns.clear()  # it dies, and with it every key
    restart = next(number for number, event in enumerate(events) if isinstance(event, TurnRestarted))
    assert text_of(events[:restart]).startswith("lost")
    assert text_of(events[restart:]) == "new words!"
    assert [event.reply.text for event in events if isinstance(event, Replied)] == ["new words!"]


class Failing(WireServer):
    """Ends its first `num_failures` streams by an error event, and keeps nothing of them."""

    def __init__(self, code: str, num_failures: int) -> None:
        super().__init__(lambda body: said("half ", "a word"))
        self.code, self.num_failures = code, num_failures

    async def chat(self, request: Any) -> Response:
        answer = await super().chat(request)
        if self.num_failures:
            self.num_failures -= 1
            turn = self.turns.pop("key-1")
            error = {"error": {"message": "it died", "type": "server_error", "param": None, "code": self.code}}
            turn.payloads[2:] = [compact(error)]
        return answer


async def test_a_stream_that_ends_by_a_passing_error_is_made_anew(client_of: Callable[..., Client]) -> None:
    server = Failing("engine_died", 2)
    events = await asked(client_of(server))
    assert sum(isinstance(event, TurnRestarted) for event in events) == 2
    assert text_of(events[-3:]) == "half a word"


async def test_an_engine_that_dies_of_every_attempt_is_given_up(client_of: Callable[..., Client]) -> None:
    with pytest.raises(UnavailableError, match="it died"):
        await asked(client_of(Failing("engine_died", 99), retry=Retry(attempts=3)))


async def test_a_stream_that_ends_by_another_error_is_not_made_anew(client_of: Callable[..., Client]) -> None:
    server = Failing("invalid_logits", 1)
    with pytest.raises(RefusedError, match="it died"):
        await asked(client_of(server))
    assert len(server.requests) == 1


async def test_a_server_without_ids_and_done_is_read_to_its_finish_reason(client_of: Callable[..., Client]) -> None:
    class Plain(WireServer):
        async def written(self, turn: Any, start: int) -> Any:
            async for data in super().written(turn, start):
                if b"[DONE]" not in data:
                    yield data

    assert text_of(await asked(client_of(Plain([said("ok")], has_ids=False)))) == "ok"


async def test_what_is_no_stream_of_chunks_is_an_error(client_of: Callable[..., Client]) -> None:
    class Odd(WireServer):
        async def chat(self, request: Any) -> Response:
            return Response("data: what\n\n", media_type="text/event-stream")

    with pytest.raises(StreamError, match="no chunk"):
        await asked(client_of(Odd([])))


async def test_an_error_is_told_as_it_was_said_wherever_it_stands(client_of: Callable[..., Client]) -> None:
    class Other(WireServer):
        async def chat(self, request: Any) -> Response:
            begun = 'data: {"id":"1","choices":[{"index":0,"delta":{"content":"\\"error\\": "}}]}\n\n'
            error = 'data: {"id": "1", "error": {"code": 413, "message": "the context is full"}}\n\n'
            return Response(begun + error, media_type="text/event-stream")

    with pytest.raises(RefusedError, match=r"^the context is full$"):
        await asked(client_of(Other([])))


async def test_a_web_page_is_no_stream_and_not_asked_for_again(client_of: Callable[..., Client]) -> None:
    class Page(WireServer):
        num_asked = 0

        async def chat(self, request: Any) -> Response:
            self.num_asked += 1
            return Response("<html>Welcome", media_type="text/html")

    server = Page([])
    with pytest.raises(StreamError, match=r"http://test/v1/chat/completions answered text/html.*Welcome"):
        await asked(client_of(server))
    assert server.num_asked == 1


async def test_models_are_listed_and_asked_for_again(client_of: Callable[..., Client]) -> None:
    waits: list[float] = []
    server = WireServer([], failures=[refusal(503, "loading", {"retry-after": "2"})])
    assert await client_of(server, [-1], waits).models() == ["wire"]
    assert waits == [0.125, 2.0]
    odd = WireServer([], failures=[JSONResponse({"data": 3})])
    with pytest.raises(StreamError, match="GET /v1/models answered what is not understood"):
        await client_of(odd).models()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_what_is_no_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_URL", "no url")
    with pytest.raises(DefinitionError, match="is no URL of a server"):
        Client(url)


def test_the_url_and_the_key_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_URL", "http://elsewhere:9000/v1/")
    assert Client().url == "http://elsewhere:9000"
    monkeypatch.delenv("ESPALIER_URL")
    assert Client().url == "http://127.0.0.1:8000"


class Closing(httpx.ASGITransport):
    """Counts how often it is closed."""

    num_closed = 0

    async def aclose(self) -> None:
        self.num_closed += 1


async def test_connections_are_held_while_the_client_is_open_and_closed_by_who_leaves_last() -> None:
    server = WireServer(lambda body: said("ok"))
    transport = Closing(server.app)
    client = Client("http://test", transport=transport)
    agent = Agent(client)
    await agent.run("one")
    assert transport.num_closed == 1
    async with client:
        await asyncio.gather(*(agent.run(f"run {number}") for number in range(5)))
        assert transport.num_closed == 1
    assert transport.num_closed == 2
    async with client:
        async with client:
            pass
        assert transport.num_closed == 2
    assert transport.num_closed == 3


def test_one_client_serves_one_event_loop_after_another() -> None:
    server = WireServer(lambda body: said("ok"))
    agent = Agent(Client("http://test", transport=httpx.ASGITransport(server.app)))
    assert [agent.run_sync("Go.").answer for _ in range(3)] == ["ok"] * 3
    gc.collect()  # a connection that was left open would warn here
