"""The SDK in front of the gateway itself, whose engine plays a script: cuts, sessions, crashes of either side."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from espalier.engine.errors import EngineDiedError
from espalier.engine.messages import Generate, Output
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.sdk import (
    Agent,
    Call,
    Client,
    Hooks,
    RefusedError,
    Replied,
    RunEnded,
    Session,
    Settings,
    ToolFinished,
    ToolStarted,
    TurnRestarted,
)
from espalier.gateway.sdk.event import Event
from espalier.sessions import Sessions
from tests.gateway.live_server import served
from tests.gateway.said import says
from tests.gateway.sdk.wire_server import CuttingTransport

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]


def bought(*items: str) -> str:
    """A turn of calls, as the bundled model writes it."""
    calls = [json.dumps({"name": "buy", "arguments": {"item": item}}) for item in items]
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


LINES = (bought("bread"), bought("milk", "eggs"), "All is bought.")


class Crash(BaseException):
    """The process dies: nothing catches it."""


class Shop:
    """Counts what is bought; dies in the call of number `crash_in`."""

    def __init__(self, crash_in: int = 0) -> None:
        self.keys: list[str] = []
        self.items: list[str] = []
        self.crash_in = crash_in

    def buy(self, item: str, call: Call) -> str:
        """Buy an item."""
        self.keys.append(call.key)
        self.items.append(item)
        if len(self.items) == self.crash_in:
            raise Crash
        return f"{item} is bought"


async def nothing(delay_s: float) -> None:
    """Waits for nothing."""


def client_of(api: Any, cuts: Iterable[int | None] = ()) -> Client:
    return Client("http://test", transport=CuttingTransport(api.app, cuts), sleep=nothing)


def told(events: list[Event[str]]) -> list[str]:
    """What the model said, event by event; ids are the server's."""
    kept = [event for event in events if not isinstance(event, RunEnded | ToolStarted | ToolFinished)]
    return [repr(event).split("Replied")[0] for event in kept]


async def test_an_agent_works_through_the_gateway(make_api: Make, tokenizer: Tokenizer) -> None:
    shop = Shop()
    run = await Agent(client_of(make_api(says(tokenizer, *LINES))), tools=[shop.buy]).run("Go shopping.")
    assert (run.answer, run.turns, shop.items) == ("All is bought.", 3, ["bread", "milk", "eggs"])
    assert run.usage.completion_tokens > 0


async def test_a_stream_of_the_gateway_cut_anywhere_tells_the_same_and_runs_no_tool_twice(
    make_api: Make, tokenizer: Tokenizer
) -> None:
    for cut in [None, *range(0, 4000, 331)]:
        shop, api = Shop(), make_api(says(tokenizer, *LINES))
        stream = Agent(client_of(api, [cut, cut, 100, cut]), tools=[shop.buy]).stream("Go shopping.")
        events = [event async for event in stream]
        last = events[-1]
        assert isinstance(last, RunEnded) and last.run.answer == "All is bought."
        assert not [event for event in events if isinstance(event, TurnRestarted)]
        assert (sorted(shop.items), len(set(shop.keys))) == (["bread", "eggs", "milk"], 3), cut
        assert len(api.engine.requests) == 3, cut


async def test_a_session_of_the_gateway_knows_what_was_said(make: Make, tokenizer: Tokenizer) -> None:
    api, shop = make(says(tokenizer, *LINES, "Welcome back.")), Shop()
    agent = Agent(client_of(api), tools=[shop.buy], instructions="Be brief.")
    await agent.run("Go shopping.", session=Session("shop"))
    run = await agent.run("Hello again.", session=Session("shop"))
    assert run.answer == "Welcome back."
    prompt = api.tokenizer.decode(api.engine.requests[-1].token_ids, skip_special=False)
    assert prompt.count("Be brief.") == 1
    assert "eggs is bought" in prompt and "Hello again." in prompt


async def test_forks_and_rollbacks_of_the_gateway(make: Make, tokenizer: Tokenizer) -> None:
    api = make(says(tokenizer, *(f"Answer {number}." for number in range(9))))
    agent, session = Agent(client_of(api)), Session("plans")
    await agent.run("one", session=session)
    mark = await session.tip()
    forks = [await session.fork() for _ in range(2)]
    answers = [(await agent.run("two", session=one)).answer for one in (session, *forks)]
    assert answers == ["Answer 1.", "Answer 2.", "Answer 3."]
    await session.rollback(mark)
    assert [turn.messages[-1].content for turn in await session.turns()] == ["one"]
    assert [turn.messages[-1].content for turn in await forks[0].turns()] == ["one", "two"]


@pytest.mark.parametrize("crash_in", [1, 2, 3])
async def test_a_client_that_died_goes_on_and_buys_nothing_twice(
    make: Make, tokenizer: Tokenizer, tmp_path: Path, crash_in: int
) -> None:
    api, shop = make(says(tokenizer, *LINES)), Shop(crash_in)
    with pytest.raises(Crash):
        await Agent(client_of(api), tools=[shop.buy]).run("Go.", session=Session("shop", journal=tmp_path / "journal"))
    session = Session("shop", journal=tmp_path / "journal")
    run = await Agent(client_of(api), tools=[shop.buy]).resume(session)
    assert run.answer == "All is bought."
    assert sorted(shop.items) == ["bread", "eggs", "milk"]
    assert len(api.engine.requests) == 3


async def test_a_run_that_is_gone_on_with_by_another_agent_is_told_so(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    api, shop, journal = make(says(tokenizer, *LINES)), Shop(), tmp_path / "journal"
    copying = Copying(journal)
    await Agent(client_of(api), tools=[shop.buy], hooks=copying).run("Go.", session=Session("shop", journal=journal))
    journal.write_bytes(b"".join(copying.lines[:9]))
    other = Agent(client_of(api), tools=[shop.buy], settings=Settings(temperature=1))
    with pytest.raises(RefusedError) as caught:
        await other.resume(Session("shop", journal=journal))
    assert caught.value.__notes__ == [
        "The run began with other tools, settings or another type of answer: go on with those, or abandon it."
    ]


class Copying(Hooks):
    """Keeps what the journal held when the last reply was in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, list[bytes]()

    async def on_event(self, event: Event[object]) -> None:
        if isinstance(event, Replied):
            self.lines = self.path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("num_lines", [1, 4, 9])
async def test_a_client_that_died_before_it_had_a_reply_gets_it_again(
    make: Make, tokenizer: Tokenizer, tmp_path: Path, num_lines: int
) -> None:
    """Behind the run, behind the first result, behind the last one: the server has made the turn, the client died."""
    api, shop, journal = make(says(tokenizer, *LINES)), Shop(), tmp_path / "journal"
    copying = Copying(journal)
    agent = Agent(client_of(api), tools=[shop.buy], hooks=copying)
    await agent.run("Go.", session=Session("shop", journal=journal))
    assert len(copying.lines) == 10
    journal.write_bytes(b"".join(copying.lines[:num_lines]))
    num_done = b"".join(copying.lines[:num_lines]).count(b'"type":"result"')
    shop.items.clear()
    run = await agent.resume(Session("shop", journal=journal))
    assert run.answer == "All is bought."
    assert len(shop.items) == 3 - num_done
    assert len(api.engine.requests) == 3


@asynccontextmanager
async def started(make_api: Make, script: Any, folder: Path) -> AsyncIterator[Any]:
    """A gateway over the store in a folder, as a start of the server opens it."""
    sessions = await Sessions.open(folder)
    try:
        yield make_api(script, sessions=sessions)
    finally:
        await sessions.close()


async def test_a_server_that_died_between_turns_is_gone_on_with(
    make_api: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    shop, session = Shop(crash_in=1), Session("shop", journal=tmp_path / "journal")
    async with started(make_api, says(tokenizer, *LINES), tmp_path / "store") as api:
        with pytest.raises(Crash):
            await Agent(client_of(api), tools=[shop.buy]).run("Go.", session=session)
    session = Session("shop", journal=tmp_path / "journal")
    async with started(make_api, says(tokenizer, *LINES[1:]), tmp_path / "store") as api:
        run = await Agent(client_of(api), tools=[shop.buy]).resume(session)
    assert run.answer == "All is bought."
    assert sorted(shop.items) == ["bread", "eggs", "milk"]


class TwoServers(httpx.AsyncBaseTransport):
    """The first server up to so many bytes of its first answer, then another over the same store: it died between."""

    def __init__(self, first: Any, second: Any, cut: int) -> None:
        self._servers = itertools.chain(
            [CuttingTransport(first.app, [cut])], itertools.repeat(CuttingTransport(second.app))
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await next(self._servers).handle_async_request(request)


async def test_a_server_that_died_in_a_turn_without_a_session_makes_it_anew(
    make_api: Make, tokenizer: Tokenizer
) -> None:
    first, second = (make_api(says(tokenizer, "One two three four five.")) for _ in range(2))
    client = Client("http://test", transport=TwoServers(first, second, cut=700), sleep=nothing)
    events = [event async for event in Agent(client).stream("Count.")]
    assert sum(isinstance(event, TurnRestarted) for event in events) == 1
    last = events[-1]
    assert isinstance(last, RunEnded) and last.run.answer == "One two three four five."


class HangingUp(httpx.AsyncBaseTransport):
    """Real sockets that are closed after so many bytes of each answer, while the server still writes."""

    def __init__(self, cuts: Iterable[int]) -> None:
        self._inner, self._cuts = httpx.AsyncHTTPTransport(), iter(cuts)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if (cut := next(self._cuts, None)) is None:
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=HungUp(answer, cut))

    async def aclose(self) -> None:
        await self._inner.aclose()


class HungUp(httpx.AsyncByteStream):
    """So many bytes of an answer, and the socket is closed."""

    def __init__(self, answer: httpx.Response, cut: int) -> None:
        self._answer, self._cut = answer, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_left = self._cut
        async for data in self._answer.aiter_raw():
            yield data[:num_left]
            num_left -= len(data)
            if num_left <= 0:
                await self._answer.aclose()
                raise httpx.ReadError("hung up")

    async def aclose(self) -> None:
        await self._answer.aclose()


@pytest.mark.parametrize("cut", [1, 400, 900])
async def test_a_running_turn_goes_on_while_its_client_is_away(make_api: Make, tokenizer: Tokenizer, cut: int) -> None:
    api, shop = make_api(says(tokenizer, *LINES)), Shop()
    with served(api.app) as url:
        client = Client(url, transport=HangingUp([cut] * 5), sleep=nothing)
        async with client:
            run = await Agent(client, tools=[shop.buy]).run("Go shopping.")
    assert run.answer == "All is bought."
    assert sorted(shop.items) == ["bread", "eggs", "milk"]
    assert (len(api.engine.requests), api.engine.aborted) == (3, [])


@pytest.mark.parametrize("session", [None, "s"])
async def test_a_turn_under_which_the_engine_died_is_made_anew(
    make: Make, tokenizer: Tokenizer, session: str | None
) -> None:
    deaths = [EngineDiedError("the engine ended"), EngineDiedError("the engine ended")]
    whole = says(tokenizer, "One two three.")

    def script(request: Generate) -> Iterator[Output | Exception]:
        outputs = iter(whole(request))
        if deaths:
            yield next(outputs)
            yield deaths.pop()
        yield from outputs

    api = make(script)
    stream = Agent(client_of(api)).stream("Count.", session=Session(session) if session else None)
    events = [event async for event in stream]
    assert sum(isinstance(event, TurnRestarted) for event in events) == 2
    last = events[-1]
    assert isinstance(last, RunEnded) and last.run.answer == "One two three."
    assert len(api.engine.requests) == 3


async def test_an_engine_that_is_not_there_yet_is_waited_for(make: Make, tokenizer: Tokenizer) -> None:
    api = make(says(tokenizer, "Here."))
    ready, api.engine.ready = api.engine.ready, None
    waits: list[float] = []

    async def wait(delay_s: float) -> None:
        waits.append(delay_s)
        api.engine.ready = ready if len(waits) > 2 else None

    client = Client("http://test", transport=CuttingTransport(api.app), sleep=wait)
    assert (await Agent(client).run("Anybody?")).answer == "Here."
    assert waits == [1.0, 1.0, 1.0]  # what Retry-After says


async def test_a_schema_that_can_not_be_satisfied_is_refused_by_its_path(make: Make, tokenizer: Tokenizer) -> None:
    api = make(says(tokenizer, "1"))
    with pytest.raises(RefusedError) as caught:
        await Agent(client_of(api)).run("Go.", answer={"type": "integer", "minimum": 3, "maximum": 2})
    assert caught.value.status == 400
    assert (caught.value.param or "").startswith("response_format")
    assert api.engine.requests == []
