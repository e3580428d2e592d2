"""Responses whose clients leave, come back, or never read: what goes on, what is rolled back, what is found again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from espalier.engine.errors import EngineDiedError
from espalier.engine.messages import Output, Usage
from espalier.gateway.scripted_client import READY, ScriptedClient, answer
from espalier.sessions import Sessions
from espalier.sessions.store import Store
from tests.gateway.asgi_call import AsgiCall, event_of, events_of
from tests.sessions.faulty_disk import FaultyDisk, connector

pytestmark = pytest.mark.anyio
PATH = "/v1/responses"
WORDS = ["Hel", "lo", " there"]
NUM_EVENTS = 11  # created, in_progress, item and part added, three deltas, text, part and item done, completed
KEY = {"idempotency-key": "k1"}


class Stepped:
    """An application whose engine says one word each time it is let."""

    def __init__(self, make: Callable[..., Any], tokenizer: Any, script: Any = None, **more: Any) -> None:
        self.gate = asyncio.Semaphore(0)
        ready = msgspec.structs.replace(READY, vocab_size=tokenizer.vocab_size)
        self.engine = ScriptedClient(script or answer(WORDS), ready=ready, gate=self.gate)
        self.api = make(engine=self.engine, **more)

    def let(self, num_words: int = len(WORDS)) -> None:
        for _ in range(num_words):
            self.gate.release()

    def create(self, headers: dict[str, str] | None = None, **more: Any) -> AsgiCall:
        return AsgiCall(self.api.app, "POST", PATH, {"input": "Hi", **more}, headers)

    def resume(self, response_id: str, after: int | None = None) -> AsgiCall:
        query = "" if after is None else f"&starting_after={after}"
        return AsgiCall(self.api.app, "GET", f"{PATH}/{response_id}?stream=true{query}")

    async def asked(self, num_requests: int) -> None:
        """Return when the engine has got so many requests."""
        for _ in range(10_000):
            if len(self.engine.requests) == num_requests:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError

    async def get(self, response_id: str) -> dict[str, Any]:
        return dict((await self.api.http.get(f"{PATH}/{response_id}")).json())

    async def ended(self, response_id: str) -> dict[str, Any]:
        """The response, once it has ended."""
        async with self.resume(response_id) as call:
            await call.rest()
        return await self.get(response_id)


@pytest.fixture
def stepped(make: Callable[..., Any], tokenizer: Any) -> Stepped:
    return Stepped(make, tokenizer)


async def read(call: AsgiCall, num_events: int) -> list[dict[str, Any]]:
    return [event_of(await call.chunk()) for _ in range(num_events)]


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


async def test_a_background_response_is_told_at_once_and_needs_no_client(stepped: Stepped) -> None:
    async with stepped.create(background=True) as call:
        queued = await call.json()
    assert (queued["status"], queued["output"], queued["background"]) == ("queued", [], True)
    assert (await stepped.get(queued["id"]))["status"] in ("queued", "in_progress")
    stepped.let()
    whole = await stepped.ended(queued["id"])
    assert (whole["status"], text_of(whole)) == ("completed", "Hello there")


async def test_a_background_stream_begins_before_the_answer_and_survives_its_client(stepped: Stepped) -> None:
    async with stepped.create(background=True, stream=True) as call:
        events = await read(call, 3)
    assert [event["type"] for event in events] == ["response.created", "response.queued", "response.in_progress"]
    stepped.let(1)
    async with stepped.resume(events[0]["response"]["id"], after=2) as call:
        (added, *_) = await read(call, 3)
    assert added["type"] == "response.output_item.added"
    growing = await stepped.get(events[0]["response"]["id"])
    assert (growing["status"], text_of(growing)) == ("in_progress", "Hel")
    stepped.let()
    assert (await stepped.ended(events[0]["response"]["id"]))["status"] == "completed"


@pytest.mark.parametrize("how", ["background", "key"])
async def test_a_broken_stream_resumes_at_every_event(stepped: Stepped, how: str) -> None:
    more: Any = {"background": True} if how == "background" else {"headers": KEY}
    num_events = NUM_EVENTS + (how == "background")
    async with stepped.create(stream=True, **more) as call:
        stepped.let()
        whole = events_of(await call.rest())
    assert len(whole) == num_events
    response_id = whole[0]["response"]["id"]
    for after in range(num_events):
        async with stepped.resume(response_id, after) as call:
            assert events_of(await call.rest()) == whole[after + 1 :]
        async with AsgiCall(
            stepped.api.app, "GET", f"{PATH}/{response_id}?stream=true", headers={"last-event-id": str(after)}
        ) as call:
            assert events_of(await call.rest()) == whole[after + 1 :]


@pytest.mark.parametrize("num_read", range(NUM_EVENTS))
async def test_the_same_request_with_its_key_resumes_where_its_stream_broke(stepped: Stepped, num_read: int) -> None:
    async with stepped.create(KEY, stream=True) as call:
        stepped.let(max(1, num_read - 3))
        first = await read(call, num_read)
    assert not stepped.engine.aborted
    headers = KEY | ({"last-event-id": str(num_read - 1)} if num_read else {})
    async with stepped.create(headers, stream=True) as call:
        stepped.let()
        second = events_of(await call.rest())
    events = first + second
    assert [event["sequence_number"] for event in events] == list(range(NUM_EVENTS))
    assert len(stepped.engine.requests) == 1 and text_of(events[-1]["response"]) == "Hello there"


async def test_what_was_interrupted_is_not_silently_begun_again(stepped: Stepped) -> None:
    for headers in (KEY | {"last-event-id": "3"}, {"last-event-id": "3"}):
        async with stepped.create(headers, stream=True) as call:
            error = (await call.json())["error"]
        assert (call.status, error["code"]) == (409, "stream_not_found")
    assert not stepped.engine.requests


async def test_a_repeated_request_is_a_replay_and_another_body_a_conflict(stepped: Stepped) -> None:
    stepped.let(99)
    bodies = []
    for _ in range(2):
        async with stepped.create(KEY) as call:
            bodies.append(await call.json())
    assert bodies[0] == bodies[1] and len(stepped.engine.requests) == 1
    async with stepped.create(KEY, input="Another") as call:
        error = (await call.json())["error"]
    assert (call.status, error["code"]) == (409, "idempotency_conflict")
    async with stepped.create(KEY, store=False) as call:
        assert (await call.json())["error"]["param"] == "store" and call.status == 400


async def test_two_requests_of_one_key_at_once_are_one_response(stepped: Stepped) -> None:
    async with stepped.create(KEY) as one, stepped.create(KEY) as two:
        await asyncio.sleep(0)
        stepped.let(99)
        first, second = await one.json(), await two.json()
    assert first == second and len(stepped.engine.requests) == 1


@pytest.mark.parametrize("num_read", range(4 + 8))
async def test_a_client_that_leaves_ends_its_response_at_every_event(make: Any, tokenizer: Any, num_read: int) -> None:
    """Four events come before the words; the engine has always more to say."""
    stepped = Stepped(make, tokenizer, answer([f"{at} " for at in range(9)]))
    conversation = (await stepped.api.post("/v1/conversations")).json()["id"]
    async with stepped.create(stream=True, conversation=conversation) as call:
        stepped.let(max(1, num_read - 4))
        events = await read(call, num_read)
    assert stepped.engine.aborted == [request.request_id for request in stepped.engine.requests]
    stepped.let(99)
    async with stepped.create(conversation=conversation, input="Again") as call:
        body = await call.json()
    assert (call.status, body["status"]) == (200, "completed")
    assert "Hi" not in stepped.api.tokenizer.decode(stepped.engine.requests[-1].token_ids)
    items = (await stepped.api.http.get(f"/v1/conversations/{conversation}/items?order=asc")).json()["data"]
    assert [item["content"][0]["text"] for item in items] == ["Again", text_of(body)]
    if events:
        assert (await stepped.get(events[0]["response"]["id"]))["status"] == "cancelled"


async def test_a_client_that_waits_for_the_whole_and_leaves_ends_its_response(stepped: Stepped) -> None:
    async with stepped.create():
        await stepped.asked(1)
    assert stepped.engine.aborted == [stepped.engine.requests[0].request_id]


async def test_a_busy_conversation_says_so_while_its_client_is_there(stepped: Stepped) -> None:
    conversation = (await stepped.api.post("/v1/conversations")).json()["id"]
    async with stepped.create(stream=True, conversation=conversation) as first:
        stepped.let(1)
        await read(first, 1)
        async with stepped.create(conversation=conversation) as second:
            error = (await second.json())["error"]
        assert (second.status, error["code"]) == (409, "session_busy")


async def test_a_turn_that_lost_its_client_gives_way_to_the_next(stepped: Stepped) -> None:
    conversation = (await stepped.api.post("/v1/conversations")).json()["id"]
    async with stepped.create(KEY, stream=True, conversation=conversation) as call:
        stepped.let(1)
        await read(call, 1)
    assert not stepped.engine.aborted
    async with stepped.create(conversation=conversation, input="Again") as call:
        await stepped.asked(2)
        stepped.let(99)
        assert text_of(await call.json()) == "Hello there"
    assert stepped.engine.aborted == [stepped.engine.requests[0].request_id]


async def test_a_cancel_frees_the_engine_and_is_remembered(stepped: Stepped) -> None:
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    stepped.let(1)
    async with stepped.resume(response_id) as call:
        await read(call, 6)
    for _ in range(2):
        body = (await stepped.api.http.post(f"{PATH}/{response_id}/cancel")).json()
        assert (body["status"], text_of(body)) == ("cancelled", "Hel")
    assert stepped.engine.aborted == [stepped.engine.requests[0].request_id]
    assert await stepped.get(response_id) == body
    async with stepped.resume(response_id) as call:
        events = events_of(await call.rest())
    assert events[-1]["response"] == body
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_response_that_has_ended_is_cancelled_only_if_it_was_in_the_background(stepped: Stepped) -> None:
    stepped.let(99)
    async with stepped.create() as call:
        sync = (await call.json())["id"]
    assert (await stepped.api.http.post(f"{PATH}/{sync}/cancel")).status_code == 400
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    whole = await stepped.ended(response_id)
    assert (await stepped.api.http.post(f"{PATH}/{response_id}/cancel")).json() == whole


async def test_a_running_response_can_be_deleted(stepped: Stepped) -> None:
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    assert (await stepped.api.http.delete(f"{PATH}/{response_id}")).status_code == 200
    assert (await stepped.api.http.get(f"{PATH}/{response_id}")).status_code == 404


async def test_a_background_response_that_fails_says_why(make: Any, tokenizer: Any) -> None:
    def script(request: Any) -> Any:
        return [Output(request.request_id, "Hel", [1], usage=Usage(1, 0, 1)), EngineDiedError("it ended")]

    stepped = Stepped(make, tokenizer, script)
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    stepped.let()
    body = await stepped.ended(response_id)
    assert (body["status"], body["error"]) == ("failed", {"code": "server_error", "message": "it ended"})


async def test_what_ran_when_the_server_ended_has_failed(stepped: Stepped, sessions: Sessions, make: Any) -> None:
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    # What the store does when it is opened by the next process.
    turn = await sessions.turn("", response_id)
    await sessions.interrupt("", turn.id)
    body = (await make().http.get(f"{PATH}/{response_id}")).json()
    assert (body["status"], body["error"]["code"], body["output"]) == ("failed", "server_error", [])
    await stepped.api.http.post(f"{PATH}/{response_id}/cancel")


@pytest.mark.parametrize("query", ["?stream=maybe", "?stream=true&starting_after=x", "?stream=true&starting_after=-1"])
async def test_a_query_that_makes_no_sense_is_refused(stepped: Stepped, query: str) -> None:
    stepped.let()
    async with stepped.create() as call:
        response_id = (await call.json())["id"]
    assert (await stepped.api.http.get(f"{PATH}/{response_id}{query}")).status_code == 400


async def test_an_answer_that_cannot_be_stored_is_never_told_as_whole(
    make_api: Any, tokenizer: Any, tmp_path: Path
) -> None:
    disk = FaultyDisk(Random(0))
    store = Store.open(tmp_path / "faulty", connect=connector(disk, "responses"))
    sessions = await Sessions.over(store)
    stepped = Stepped(make_api, tokenizer, sessions=sessions)
    async with stepped.create(stream=True) as call:
        stepped.let(1)
        first = await read(call, 1)
        disk.fails = lambda what: what == "sync"
        stepped.let()
        events = first + events_of(await call.rest())
    kinds = [event["type"] for event in events]
    assert "response.completed" not in kinds and kinds[-2:] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (await stepped.get(first[0]["response"]["id"]))["status"] == "failed"
    async with stepped.create() as call:
        error = (await call.json())["error"]
    assert (call.status, error["code"]) == (503, "store_read_only")
    disk.fails = lambda what: False
    await sessions.close()


async def test_an_answer_is_in_progress_until_it_is_on_disk(make_api: Any, tokenizer: Any, tmp_path: Path) -> None:
    disk, reached, go_on = FaultyDisk(Random(0)), threading.Event(), threading.Event()

    def hold_up(what: str) -> bool:
        if what == "sync":
            reached.set()
            go_on.wait(60)
        return False

    sessions = await Sessions.over(Store.open(tmp_path / "slow", connect=connector(disk, "slow")))
    stepped = Stepped(make_api, tokenizer, sessions=sessions)
    async with stepped.create(background=True) as call:
        response_id = (await call.json())["id"]
    disk.fails = hold_up
    stepped.let()
    await asyncio.to_thread(reached.wait, 60)
    assert (await stepped.get(response_id))["status"] == "in_progress"
    go_on.set()
    assert (await stepped.ended(response_id))["status"] == "completed"
    await sessions.close()


async def test_a_stream_that_ends_with_its_conversation_before_it_begins_says_so(stepped: Stepped) -> None:
    conversation = (await stepped.api.post("/v1/conversations")).json()["id"]
    async with stepped.create(stream=True, conversation=conversation) as call:
        await stepped.asked(1)
        await stepped.api.http.delete(f"/v1/conversations/{conversation}")
        body = await call.json()
    assert (call.status, body["error"]["code"]) == (409, "turn_ended")


async def test_items_are_changed_where_a_response_with_a_key_was_left_and_nowhere_else(stepped: Stepped) -> None:
    first = {"items": [{"role": "user", "content": "one"}]}
    made = (await stepped.api.post("/v1/conversations", **first)).json()
    path = f"/v1/conversations/{made['id']}/items"
    for number, change in enumerate(("add", "delete"), 1):
        (item, *_) = (await stepped.api.http.get(path)).json()["data"]

        def ask(change: str = change, item: Any = item) -> Any:
            http = stepped.api.http
            return http.post(path, json=first) if change == "add" else http.delete(f"{path}/{item['id']}")

        async with stepped.create({"idempotency-key": change}, stream=True, conversation=made["id"]):
            await stepped.asked(number)
            assert (await ask()).json()["error"]["code"] == "session_busy"
        assert (await ask()).status_code == 200
        assert len(stepped.engine.aborted) == number
    assert len((await stepped.api.http.get(path)).json()["data"]) == 1
