"""Chat completions with a session or a key: histories, conflicts, clients that leave, streams that go on."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from espalier.engine.messages import FinishReason, Generate, Output, Usage
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.app import create_app
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import Script, ScriptedClient
from espalier.sessions import Sessions
from tests.gateway import said
from tests.gateway.conftest import Api

pytestmark = pytest.mark.anyio

Make = Callable[..., Api]
KEY = {"Idempotency-Key": "k1"}
CHAT = "/v1/chat/completions"


def says(tokenizer: Tokenizer, *texts: str) -> Script:
    """A model that says texts in the tokenizer's own tokens, one output each."""

    def script(request: Generate) -> Iterable[Output]:
        count = 0
        for number, text in enumerate(texts, 1):
            ids = tokenizer.encode(text)
            count += len(ids)
            reason: FinishReason | None = "stop" if number == len(texts) else None
            usage = Usage(len(request.token_ids), 0, count)
            yield Output(request.request_id, text, ids, finish_reason=reason, usage=usage)

    return script


@pytest.fixture
def make(make_api: Make, sessions: Sessions, tokenizer: Tokenizer) -> Make:
    """An application that stores, with a model that says hello."""
    hello = says(tokenizer, "Hel", "lo", " there")
    return lambda script=hello, **more: make_api(script, sessions=sessions, **more)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def prompt(api: Api) -> str:
    """What the engine was given last."""
    return api.tokenizer.decode(api.engine.requests[-1].token_ids, skip_special=False)


async def say(api: Api, text: str, session: str = "s", **more: Any) -> dict[str, Any]:
    answered = await api.chat(text, session_id=session, **more)
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def numbered(api: Api) -> Callable[[Generate], Iterable[Output]]:
    """A model that says tokens of its own, and not as the tokenizer would write them."""

    def script(request: Generate) -> Iterable[Output]:
        ids = [token for letter in "one two" for token in api.tokenizer.encode(letter)]
        ids.append(api.tokenizer.end_token_ids[0])
        usage = Usage(len(request.token_ids), 0, len(ids))
        yield Output(request.request_id, "one", ids[:3], usage=usage)
        yield Output(request.request_id, " two", ids[3:], finish_reason="stop", usage=usage)

    return script


async def test_a_session_needs_only_what_is_new(make: Make) -> None:
    api = make()
    first = await say(api, "My name is Ada.")
    second = await say(api, "What is my name?")
    assert "My name is Ada." in prompt(api) and "Hello there" in prompt(api)
    assert prompt(api).count("<|im_start|>assistant") == 2
    extras = first["espalier"], second["espalier"]
    assert extras[0]["session_id"] == extras[1]["session_id"] and extras[0]["turn_id"] != extras[1]["turn_id"]
    assert all(extra["lossless"] for extra in extras)


async def test_what_was_generated_is_spliced_to_the_token(make: Make) -> None:
    api = make()
    engine = ScriptedClient(numbered(api), ready=api.engine.ready)
    api = make(engine=engine)
    await say(api, "first")
    await say(api, "second")
    before, after = (request.token_ids for request in engine.requests)
    said = [token for letter in "one two" for token in api.tokenizer.encode(letter)]
    assert after[: len(before) + len(said)] == [*before, *said]


async def test_the_session_may_be_named_in_a_header(make: Make) -> None:
    api = make()
    body = {"messages": [user("one")]}
    for _ in range(2):
        answered = await api.http.post(CHAT, json=body, headers={"X-Session-ID": "s"})
    assert answered.json()["espalier"]["session_id"].startswith("sess_")
    assert prompt(api).count("one") == 2
    stateless = await api.http.post(CHAT, json=body | {"session_id": ""}, headers={"X-Session-ID": ""})
    assert "session_id" not in stateless.json()["espalier"]


async def test_a_client_may_resend_its_whole_history(make: Make) -> None:
    api = make()
    await say(api, "one")
    second = await api.chat(session_id="s", messages=[user("one"), assistant("Hello there\n"), user("two")])
    assert "diverged" not in second.json()["espalier"]
    spliced = api.engine.requests[-1].token_ids
    assert api.tokenizer.decode(spliced).count("one") == 1
    changed = [user("uno"), assistant("Hello there"), user("two")]
    third = (await api.chat(session_id="s", messages=changed)).json()
    assert third["espalier"]["diverged"] == {"message": 0, "turn_id": (await turns(api, "s"))[0]["id"]}
    assert "uno" in prompt(api) and "one" not in prompt(api).replace("<|im_end|>", "")


async def turns(api: Api, session: str) -> list[dict[str, Any]]:
    told = (await api.http.get(f"/v1/sessions/{session}/turns")).json()
    found: list[dict[str, Any]] = told.get("data", [])
    return found


async def test_messages_are_appended_where_the_client_says_so(make: Make) -> None:
    api = make()
    await say(api, "one")
    await api.chat(session_id="s", session_mode="append", messages=[assistant("by the way"), user("two")])
    assert all(text in prompt(api) for text in ("one", "Hello there", "by the way", "two"))


@pytest.mark.parametrize(
    ("body", "headers", "field"),
    [
        ({"session_id": "s", "n": 2}, {}, "n"),
        ({"session_id": "s" * 129}, {}, "session_id"),
        ({}, {"X-Session-ID": "s" * 129}, "X-Session-ID"),
        ({"session_id": 5}, {}, "session_id"),
        ({"session_id": "s", "session_mode": "guess"}, {}, "session_mode"),
        ({"session_mode": "append"}, {}, "session_mode"),
        ({}, {"If-Match": "turn_x"}, "If-Match"),
        ({"session_id": "s"}, {"Idempotency-Key": "k" * 256}, "Idempotency-Key"),
        ({"session_id": "s"}, {"Last-Event-ID": "x"}, "Last-Event-ID"),
    ],
)
async def test_what_cant_be_honoured_is_named(make: Make, body: Any, headers: Any, field: str) -> None:
    refused = await make().http.post(CHAT, json={"messages": [user("hi")]} | body, headers=headers)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == field


async def test_without_a_store_a_session_is_refused(api: Api) -> None:
    refused = await api.chat(session_id="s")
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "session_id"


async def test_an_unknown_id_is_404_and_a_name_is_not(make: Make) -> None:
    api = make()
    unknown = await api.chat(session_id="sess_0")
    assert unknown.status_code == 404 and unknown.json()["error"]["code"] == "not_found"
    assert (await api.chat(session_id="anything")).status_code == 200


async def test_a_request_that_is_refused_leaves_no_session(make: Make) -> None:
    api = make()
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "something"}}}
    bodies: list[dict[str, Any]] = [{"messages": []}, {"max_tokens": 10**6}, {"response_format": schema}]
    for body in bodies:
        assert (await api.chat(**{"session_id": "s", **body})).status_code == 400
    body = {"messages": [user("one")], "session_id": "s"}
    assert (await api.http.post(CHAT, json=body, headers={"If-Match": "turn_x"})).status_code == 412
    assert (await api.http.get("/v1/sessions")).json()["data"] == []


async def test_if_match_refuses_what_is_not_the_latest_turn(make: Make) -> None:
    api = make()
    turn = (await say(api, "one"))["espalier"]["turn_id"]
    body = {"messages": [user("two")], "session_id": "s"}
    assert (await api.http.post(CHAT, json=body, headers={"If-Match": f'"{turn}"'})).status_code == 200
    refused = await api.http.post(CHAT, json=body, headers={"If-Match": turn})
    assert refused.status_code == 412 and refused.json()["error"]["code"] == "turn_mismatch"


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds."""
    for _ in range(100_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never holds")


class Held:
    """An application whose model says a word each time that it is told to."""

    def __init__(self, make: Make, words: int = 4, **options: Any) -> None:
        plain = make()
        self.gate = asyncio.Semaphore(0)
        script = says(plain.tokenizer, *(f"w{number} " for number in range(words)))
        self.engine = ScriptedClient(script, ready=plain.engine.ready, gate=self.gate)
        self.api = make(engine=self.engine, **options)
        self.words = words

    def go(self, words: int | None = None) -> None:
        for _ in range(self.words if words is None else words):
            self.gate.release()

    async def running(self, number: int = 1) -> None:
        await until(lambda: len(self.engine.requests) >= number)


async def test_a_second_turn_is_refused_while_the_first_has_a_client(make: Make) -> None:
    held = Held(make)
    first = asyncio.create_task(say(held.api, "one"))
    await held.running()
    refused = await held.api.chat("two", session_id="s")
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["code"] == "session_busy" and "retry-after" in refused.headers
    assert "x-should-retry" not in refused.headers
    held.go()
    assert (await first)["espalier"]["turn_id"] in error["message"]


async def test_the_same_key_and_body_is_a_replay_to_the_byte(make: Make) -> None:
    for session in ({"session_id": "s"}, {}):
        for stream in (False, True):
            api = make()
            body = {"messages": [user("one")], "stream": stream} | session
            key = {"Idempotency-Key": f"{session}{stream}"}
            first = await api.http.post(CHAT, json=body, headers=key)
            again = await api.http.post(CHAT, json=body, headers=key)
            assert first.status_code == 200 and first.content == again.content
            assert len(api.engine.requests) == 1
            other = await api.http.post(CHAT, json=body | {"seed": 1}, headers=key)
            assert other.status_code == 409 and other.headers["x-should-retry"] == "false"
            assert other.json()["error"]["code"] == "idempotency_conflict"


async def test_a_key_stands_for_the_session_that_a_header_names_too(make: Make) -> None:
    api = make()
    body = {"messages": [user("one")]}
    told = [await api.http.post(CHAT, json=body, headers=KEY | {"X-Session-ID": name}) for name in ("s", "s", "t", "")]
    assert [one.status_code for one in told] == [200, 200, 409, 200] and told[0].content == told[1].content
    assert told[2].json()["error"]["code"] == "idempotency_conflict"


async def test_a_replay_survives_the_process(make_api: Make, tmp_path: Any) -> None:
    answers = []
    for _ in range(2):
        sessions = await Sessions.open(tmp_path / "sessions")
        api = make_api(sessions=sessions)
        body = {"messages": [user("one")], "session_id": "s", "stream": True}
        answers.append((await api.http.post(CHAT, json=body, headers=KEY)).content)
        await sessions.close()
    assert answers[0] == answers[1] and b"[DONE]" in answers[0]


async def test_a_request_sent_twice_at_once_is_made_once(make: Make) -> None:
    for session in ({"session_id": "s"}, {}):
        held = Held(make)
        body = {"messages": [user("one")]} | session
        both = [
            asyncio.create_task(held.api.http.post(CHAT, json=body, headers={"Idempotency-Key": str(session)}))
            for _ in range(2)
        ]
        await held.running()
        held.go()
        first, second = await asyncio.gather(*both)
        if second.status_code == 409:  # it came before the first one's turn was open; its client tries again
            first, second = second, first
        assert second.status_code == 200 and len(held.engine.requests) == 1


async def test_the_engine_keeps_the_state_of_calls_whose_client_leaves_while_they_are_stored(
    make: Make, sessions: Sessions, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make(said.says(tokenizer, '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'))
    is_storing, goes_on, complete = asyncio.Event(), asyncio.Event(), sessions.complete

    async def late(*stored: Any) -> Any:
        is_storing.set()
        await goes_on.wait()
        return await complete(*stored)

    monkeypatch.setattr(sessions, "complete", late)
    tool = {"type": "function", "function": {"name": "now"}}
    client = Client(api, {"messages": [user("one")], "session_id": "s", "stream": True, "tools": [tool]})
    await is_storing.wait()
    await client.leave(at_once=True)
    for _ in range(20):
        await asyncio.sleep(0)  # until the turn is told of it
    goes_on.set()
    await client.end()
    assert [turn["state"] for turn in await turns(api, "s")] == ["complete"]
    assert [type(note).__name__ for note in api.engine.notes] == ["Hold"]


async def test_results_of_tools_are_recorded_once(make: Make) -> None:
    api = make()
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    asked = [user("one"), {"role": "assistant", "content": None, "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "7"}
    first = await api.chat(session_id="s", messages=[*asked, result])
    again = await api.chat(session_id="s", messages=[*asked, result])
    assert first.content == again.content and len(api.engine.requests) == 1
    only = await api.chat(session_id="s", session_mode="append", messages=[result])
    assert only.content == first.content
    other = await api.chat(session_id="s", messages=[*asked, result | {"content": "8"}])
    assert other.status_code == 409 and other.headers["x-should-retry"] == "false"
    assert other.json()["error"]["code"] == "tool_result_conflict"


@pytest.mark.parametrize(
    "arguments", ['{"a": 1' + "0" * 40 + "}", '{"a": 1e400}', '{"a":' * 400 + "1" + "}" * 400, "no json", "", "[1]"]
)
async def test_calls_with_any_arguments_are_kept_and_aligned(make: Make, arguments: str) -> None:
    api = make()
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}}
    asked = [user("one"), {"role": "assistant", "content": None, "tool_calls": [call]}, user("two")]
    first = await api.chat(session_id="s", messages=asked)
    if first.status_code == 400:  # what the template can't render is refused before anything is stored
        assert first.json()["error"]["code"] == "chat_template_error" and not await turns(api, "s")
        return
    second = await api.chat(session_id="s", messages=[*asked, assistant("Hello there"), user("three")])
    assert second.status_code == 200 and "diverged" not in second.json()["espalier"]
    assert len(await turns(api, "s")) == 2


async def test_an_answer_that_was_streamed_is_told_again_whole_and_back(make: Make) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "7"}
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [user("one"), {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    for stream in (False, True):
        api = make()
        body = {"session_id": f"{stream}", "messages": messages}
        await api.http.post(CHAT, json=body | {"stream": stream})
        usage = {"stream_options": {"include_usage": True}} if not stream else {}
        again = await api.http.post(CHAT, json=body | {"stream": not stream} | usage)
        assert again.status_code == 200 and len(api.engine.requests) == 1
        if stream:
            told = again.json()
            assert told["choices"][0]["message"]["content"] == "Hello there"
        else:
            chunks = [json.loads(data) for _, data in events(again.content)[:-1]]
            assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:2]] == [None, "stop"]
            assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hello there"}
            told = chunks[2]
        said = sum(len(api.tokenizer.encode(text)) for text in ("Hel", "lo", " there"))
        assert told["usage"]["completion_tokens"] == said


def events(content: bytes) -> list[tuple[str, bytes]]:
    """Id and data of each event."""
    found = []
    for block in content.split(b"\n\n"):
        lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"data" in lines:
            found.append((lines.get(b"id", b"").decode(), lines[b"data"]))
    return found


class Client:
    """An ASGI client that reads a stream event by event and can leave."""

    def __init__(self, api: Api, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._app, self._leave = api.app, asyncio.Event()
        content = json.dumps(body, separators=(",", ":")).encode()  # as httpx does
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self._scope = {
            "type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b"",
            "headers": [*raw, (b"content-length", str(len(content)).encode())], "http_version": "1.1",
            "scheme": "http", "server": ("test", 80), "client": ("test", 1), "root_path": "",
        }  # fmt: skip
        self._body: list[Any] = [{"type": "http.request", "body": content, "more_body": False}]
        self.received = b""
        self.status = 0
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self._body:
            return self._body.pop()
        await self._leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.received += message.get("body", b"")
        self._news.set()

    async def read(self, num_events: int) -> list[tuple[str, bytes]]:
        while len(events(self.received)) < num_events and not self._task.done():
            self._news.clear()
            waiting = asyncio.ensure_future(self._news.wait())
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        return events(self.received)

    async def leave(self, *, at_once: bool = False) -> None:
        self._leave.set()
        if not at_once:
            await self._task

    async def end(self) -> list[tuple[str, bytes]]:
        await self._task
        return events(self.received)


WORDS = 6


@pytest.mark.parametrize("at", range(WORDS + 1))
async def test_a_client_that_leaves_at_any_chunk_leaves_nothing_behind(make: Make, at: int) -> None:
    """E01: close the stream after a chunk and send the next turn at once."""
    held = Held(make, WORDS)
    body = {"messages": [user("left")], "session_id": "s", "stream": True}
    client = Client(held.api, body)
    held.go(at)
    await client.read(at)
    await held.running()
    await client.leave(at_once=True)
    answering = asyncio.create_task(held.api.chat("next", session_id="s"))
    if at < WORDS:
        await until(lambda: len(held.engine.aborted) == 1)
    held.go(2 * WORDS)
    answered = await answering
    assert answered.status_code == 200, answered.text
    await client.end()
    states = [turn["state"] for turn in await turns(held.api, "s")]
    was_whole = states[0] == "complete"
    assert states == ["complete" if was_whole else "interrupted", "complete"]
    assert ("left" in prompt(held.api)) == was_whole
    if at < WORDS:
        assert not was_whole and len(held.engine.aborted) == 1
    assert len(held.engine.requests) == 2


async def test_a_turn_that_ends_while_its_key_is_looked_up_is_replayed(
    make: Make, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(make, WORDS)
    body = {"messages": [user("one")], "stream": True, "session_id": "s"}
    first, replay = Client(held.api, body, KEY), sessions.replay
    await held.running()

    async def late(*asked: Any) -> Any:
        found = await replay(*asked)
        held.go(WORDS)
        await first.end()
        return found

    monkeypatch.setattr(sessions, "replay", late)
    again = Client(held.api, body, KEY)
    assert await again.end() == await first.end() and again.status == 200


async def test_a_whole_answer_whose_client_leaves_is_rolled_back_too(make: Make) -> None:
    held = Held(make)
    client = Client(held.api, {"messages": [user("left")], "session_id": "s"})
    held.go(2)
    await held.running()
    await client.leave()
    assert held.engine.aborted
    held.go(10)
    await say(held.api, "next")
    assert "left" not in prompt(held.api)


@pytest.mark.parametrize("session", [{"session_id": "s"}, {}])
@pytest.mark.parametrize("at", range(1, WORDS))
async def test_a_stream_with_a_key_goes_on_where_it_broke(make: Make, session: Any, at: int) -> None:
    held = Held(make, WORDS)
    body = {"messages": [user("one")], "stream": True} | session
    first = Client(held.api, body, KEY)
    held.go(at)
    read = (await first.read(at))[:at]
    await first.leave()
    second = Client(held.api, body, KEY | {"Last-Event-ID": read[-1][0]})
    held.go(WORDS)
    rest = await second.end()
    third = await held.api.http.post(CHAT, json=body, headers=KEY)
    assert [*read, *rest] == events(third.content)
    ids = [name for name, _ in events(third.content)]
    assert ids == [str(number) for number in range(len(ids) - 1)] + [""] and rest[-1][1] == b"[DONE]"
    assert len(held.engine.requests) == 1 and not held.engine.aborted


async def test_a_stream_that_is_not_known_is_not_begun_anew(make: Make) -> None:
    for session in ({"session_id": "s"}, {}):
        api = make()
        body = {"messages": [user("one")], "stream": True} | session
        refused = await api.http.post(CHAT, json=body, headers=KEY | {"Last-Event-ID": "3"})
        assert refused.status_code == 409 and refused.json()["error"]["code"] == "stream_not_found"
        assert not api.engine.requests


async def test_a_new_turn_ends_one_with_a_key_whose_client_has_left(make: Make) -> None:
    held = Held(make)
    client = Client(held.api, {"messages": [user("left")], "session_id": "s", "stream": True}, KEY)
    held.go(1)
    await client.read(1)
    await client.leave()
    assert not held.engine.aborted
    answering = asyncio.create_task(say(held.api, "next"))
    await until(lambda: bool(held.engine.aborted))
    held.go()
    await answering
    assert "left" not in prompt(held.api)


async def test_a_rollback_ends_a_turn_with_a_key_whose_client_has_left_and_no_other(make: Make) -> None:
    held = Held(make)
    client = Client(held.api, {"messages": [user("left")], "session_id": "s", "stream": True}, KEY)
    held.go(1)
    await client.read(1)
    refused = await held.api.post("/v1/sessions/s/rollback", to=None)
    assert refused.json()["error"]["code"] == "session_busy" and not held.engine.aborted
    await client.leave()
    rolled = await held.api.post("/v1/sessions/s/rollback", to=None)
    assert rolled.status_code == 200 and len(held.engine.aborted) == 1
    assert [turn["state"] for turn in await turns(held.api, "s")] == ["interrupted"]


async def test_a_kept_turn_ends_when_nobody_came_back_in_time(make: Make) -> None:
    held = Held(make, resume_grace_s=0.0)
    client = Client(held.api, {"messages": [user("left")], "session_id": "s", "stream": True}, KEY)
    held.go(1)
    await client.read(1)
    await client.leave()
    await until(lambda: bool(held.engine.aborted))
    assert len(held.engine.aborted) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("num_words", [0, 2])
async def test_who_reads_a_turn_whose_session_is_deleted_is_told(make: Make, stream: bool, num_words: int) -> None:
    held = Held(make)
    reading = asyncio.create_task(held.api.chat("one", session_id="s", stream=stream))
    held.go(num_words)
    await held.running()
    await until(lambda: held.gate.locked())
    assert (await held.api.http.delete("/v1/sessions/s")).status_code == 200
    told = await reading
    if stream and num_words:
        *_, last = [json.loads(data) for _, data in events(told.content)[:-1]]
    else:
        assert told.status_code == 409 and told.headers["x-should-retry"] == "false"
        last = told.json()
    assert last["error"]["code"] == "turn_ended"


async def test_a_failure_in_the_middle_rolls_back_and_is_told(make: Make) -> None:
    def script(request: Generate) -> Iterable[Output | Exception]:
        yield Output(request.request_id, "one ", [1], usage=Usage(1, 0, 1))
        yield Output(request.request_id, finish_reason="abort", usage=Usage(1, 0, 1))

    api = make(script)
    body = {"messages": [user("one")], "session_id": "s", "stream": True}
    answered = await api.http.post(CHAT, json=body)
    assert answered.status_code == 200 and b'"code":"aborted"' in answered.content
    assert [turn["state"] for turn in await turns(api, "s")] == ["interrupted"]


async def test_tenants_do_not_share_names_ids_or_keys(make: Make) -> None:
    keys = KeyRing((("a", digest("ka")), ("b", digest("kb"))))
    api = make(keys=keys)
    body = {"messages": [user("secret")], "session_id": "s"}
    ours = {"Authorization": "Bearer ka"}
    theirs = {"Authorization": "Bearer kb"}
    first = (await api.http.post(CHAT, json=body, headers=ours | KEY)).json()["espalier"]
    other = (await api.http.post(CHAT, json=body | {"seed": 3}, headers=theirs | KEY)).json()["espalier"]
    assert other["session_id"] != first["session_id"]
    foreign = await api.http.post(CHAT, json=body | {"session_id": first["session_id"]}, headers=theirs)
    unknown = await api.http.post(CHAT, json=body | {"session_id": "sess_0"}, headers=theirs)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace(first["session_id"], "sess_0") == unknown.text


async def test_another_model_reads_a_session_in_its_own_tokens(
    make: Make, folder: Path, tmp_path: Path, sessions: Sessions
) -> None:
    """The next model may write the same text by the same template, and mean other tokens by the same ids."""
    await say(make(), "one")
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("*.safetensors"))
    spec = json.loads((other / "tokenizer.json").read_text())
    ids = spec["model"]["vocab"]
    ids["o"], ids["n"], ids["e"] = ids["n"], ids["e"], ids["o"]
    (other / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = Tokenizer.load(other)
    engine = ScriptedClient(says(tokenizer, "Hi"), ready=make().engine.ready)
    app = create_app(engine, folder=other, model="other", options=GatewayOptions(), sessions=sessions)
    api = Api(app, engine, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test"), tokenizer)
    for text in ("two", "three"):
        extras = (await say(api, text))["espalier"]
        assert not extras["lossless"] and extras["lost"]["reason"] == "rewritten"
        assert all(said in prompt(api) for said in ("one<", "Hello there<", text))
