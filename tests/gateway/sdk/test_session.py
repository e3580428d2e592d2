"""Sessions: what is sent, forks and rollbacks, and runs that go on after a crash without a tool done twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from espalier.gateway.sdk import (
    Agent,
    AnswerCut,
    Call,
    Client,
    DefinitionError,
    JournalError,
    RefusedError,
    Reply,
    ScriptedModel,
    Session,
    Turns,
    TurnsReached,
    assistant,
    call,
    system,
    tool,
    user,
)
from espalier.gateway.sdk.message import CallMade, Function
from espalier.gateway.sdk.scripted_model import ScriptedCall
from tests.gateway.sdk.wire_server import WireServer, called, refusal, said

pytestmark = pytest.mark.anyio


class Shop:
    """Counts what is bought; `crash_in` and `crash_after` are the calls around which the process dies."""

    def __init__(self, *, crash_in: int = 0) -> None:
        self.bought: list[str] = []
        self.crash_in = crash_in
        self.num_calls = 0

    def buy(self, item: str, call: Call) -> str:
        """Buy an item."""
        self.num_calls += 1
        self.bought.append(item)
        if self.num_calls == self.crash_in:
            raise Crash
        return f"{item} is bought"


class Crash(BaseException):
    """The process dies: nothing catches it."""


def shopping() -> ScriptedModel:
    return ScriptedModel([call("buy", item="bread"), [call("buy", item="milk"), call("buy", item="eggs")], "Done."])


async def test_a_run_sends_only_what_the_session_does_not_know() -> None:
    model = ScriptedModel(["In Oslo.", call("look"), "It rains."])
    agent = Agent(model, tools=[tool(name="look")(lambda: "rain")], instructions="Be brief.")
    await agent.run("Where am I?", session=Session("trip-42"))
    await agent.run("The weather?", session=Session("trip-42"))
    assert [query.messages for query in model.queries[:2]] == [
        (system("Be brief."), user("Where am I?")),
        (user("The weather?"),),
    ]
    assert [message.role for message in model.queries[2].messages] == ["tool"]
    turns = await Session("trip-42", model=model).turns()
    assert [query.head for query in model.queries] == [None, turns[0].id, turns[1].id]
    assert turns[-1].answer == assistant("It rains.")


async def test_forks_share_the_past_and_not_the_future_and_a_rollback_forgets() -> None:
    model = ScriptedModel(["a", "b", "c", "d"])
    agent, session = Agent(model), Session("trip-42")
    await agent.run("one", session=session)
    mark = await session.tip()
    fork = await session.fork()
    await agent.run("two", session=session)
    await agent.run("three", session=fork)
    early = await session.fork(at=mark)
    assert fork.id != session.id != early.id
    said = {one.id: [turn.messages[0].content for turn in await one.turns()] for one in (session, fork, early)}
    assert list(said.values()) == [["one", "two"], ["one", "three"], ["one"]]
    await session.rollback(mark)
    assert [turn.messages[0].content for turn in await session.turns()] == ["one"]
    await session.rollback(None)
    assert await session.tip() is None


def test_a_program_without_an_event_loop_has_all_of_it() -> None:
    model = ScriptedModel(["a", call("look"), "b", "c"])
    agent, session = Agent(model, tools=[tool(name="look")(lambda: "up")], limits=[Turns(1)]), Session("trip-42")
    agent.run_sync("one", session=session)
    mark = session.tip_sync()
    with pytest.raises(TurnsReached):
        agent.run_sync("two", session=session)
    assert Agent(model, tools=[tool(name="look")(lambda: "up")]).resume_sync(session).answer == "b"
    fork = session.fork_sync(at=mark)
    assert len(fork.turns_sync()) == 1
    session.rollback_sync(mark)
    assert session.turns_sync() == fork.turns_sync()


async def test_a_session_that_is_not_there_can_not_be_forked() -> None:
    with pytest.raises(RefusedError, match="no session"):
        await Session("nowhere", model=ScriptedModel([])).fork()


@pytest.mark.parametrize("name", ["", "a\n", "a/b", "x" * 129])
def test_a_session_needs_a_name(name: str) -> None:
    with pytest.raises(DefinitionError, match="a session's id"):
        Session(name)


async def crash_and_resume(shop: Shop, model: ScriptedModel, path: Path, effect: str = "once") -> list[str | None]:
    """Die in the tool, start again as another process would, and return what the model was told."""
    buy = tool(effect=effect)(shop.buy)  # type: ignore[call-overload]
    with pytest.raises(Crash):
        await Agent(model, tools=[buy]).run("Go shopping.", session=Session("shop", journal=path))
    session = Session("shop", journal=path)
    assert session.is_unfinished()
    run = await Agent(model, tools=[buy]).run("Go shopping.", session=session)
    assert run.answer == "Done."
    assert not session.is_unfinished()
    return [message.content for message in run.messages if message.role == "tool"]


@pytest.mark.parametrize("crash_in", [1, 2, 3])
async def test_a_tool_in_which_the_process_died_is_not_done_twice(tmp_path: Path, crash_in: int) -> None:
    shop, model = Shop(crash_in=crash_in), shopping()
    told = await crash_and_resume(shop, model, tmp_path / "journal")
    assert sorted(shop.bought) == ["bread", "eggs", "milk"]
    assert len([one for one in told if one and one.startswith("error: the process ended while this ran")]) >= 1
    assert len(model.queries) == 3


@pytest.mark.parametrize("crash_in", [1, 2, 3])
async def test_a_tool_that_is_keyed_is_repeated_under_the_same_key(tmp_path: Path, crash_in: int) -> None:
    keys: dict[str, list[str]] = {}
    shop = Shop(crash_in=crash_in)

    class Keyed(Shop):
        def buy(self, item: str, call: Call) -> str:
            """Buy an item."""
            keys.setdefault(item, []).append(call.key)
            return shop.buy(item, call)

    told = await crash_and_resume(Keyed(), shopping(), tmp_path / "journal", "keyed")
    assert told == ["bread is bought", "milk is bought", "eggs is bought"]
    assert all(len(set(used)) == 1 for used in keys.values())
    assert any(len(used) == 2 for used in keys.values())


async def test_a_crash_behind_any_record_of_the_journal_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    shop, model = Shop(), shopping()
    whole = tmp_path / "whole"

    buy = tool(shop.buy)
    with pytest.raises(TurnsReached):
        await Agent(model, tools=[buy], limits=[Turns(2)]).run("Go.", session=Session("shop", journal=whole))
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) == 9  # the run, two replies, three calls begun, three done
    for num_lines in range(1, len(lines) + 1):
        path = tmp_path / "cut"
        path.write_bytes(b"".join(lines[:num_lines]))
        shop.bought = []
        done = [line for line in lines[:num_lines] if b'"type":"result"' in line]
        begun = [line for line in lines[:num_lines] if b'"type":"call"' in line]
        run = await Agent(repeating(model), tools=[buy]).resume(Session("shop", journal=path))
        assert run.answer == "Done."
        # What began before the crash is never done again, what did not begin is done once.
        assert len(shop.bought) == 3 - len(begun), num_lines
        results = [message.content or "" for message in run.messages if message.role == "tool"]
        assert sum(text.endswith("is bought") for text in results) == 3 - len(begun) + len(done), num_lines


def repeating(model: ScriptedModel) -> ScriptedModel:
    """The server after that crash: it answers the keys it knows as before, and a new one with the end."""
    bread, milk, eggs = (call("buy", item=item) for item in ("bread", "milk", "eggs"))
    lines: list[ScriptedCall | list[ScriptedCall]] = [bread, [milk, eggs]]
    known = dict(zip([query.key for query in model.queries], lines, strict=True))
    return ScriptedModel(lambda query: known.get(query.key, "Done."))


async def test_a_run_with_a_key_is_one_however_often_it_is_asked_for(tmp_path: Path) -> None:
    model, shop = shopping(), Shop()
    agent = Agent(model, tools=[shop.buy])

    def session() -> Session:
        return Session("shop", journal=tmp_path / "journal")

    first = await agent.run("Go.", session=session(), key="week-1")
    again = await agent.run("Go now.", session=session(), key="week-1")
    assert (again.answer, again.id, again.messages) == (first.answer, first.id, first.messages)
    assert again.usage == first.usage
    assert len(model.queries) == 3
    events = [event async for event in agent.stream("Go.", session=session(), key="week-1")]
    assert [type(event).__name__ for event in events] == ["RunEnded"]
    with pytest.raises(AssertionError, match="the script has ended"):
        await agent.run("Go.", session=session(), key="week-2")
    with pytest.raises(DefinitionError, match="needs a session"):
        await agent.run("Go.", key="week-1")


async def test_another_prompt_does_not_go_over_a_run_that_is_not_finished(tmp_path: Path) -> None:
    session = Session("shop", journal=tmp_path / "journal")
    shop = Shop()
    agent = Agent(shopping(), tools=[shop.buy], limits=[Turns(1)])
    with pytest.raises(TurnsReached):
        await agent.run("Go shopping.", session=session)
    with pytest.raises(JournalError, match="not finished: resume it"):
        await agent.run("Go home.", session=session)
    session.abandon()
    assert not session.is_unfinished()
    with pytest.raises(JournalError, match="has nothing to resume"):
        await agent.resume(Session("elsewhere"))


async def test_more_room_lets_a_stopped_run_go_on(tmp_path: Path) -> None:
    model, shop = shopping(), Shop()
    session = Session("shop")
    with pytest.raises(TurnsReached):
        await Agent(model, tools=[shop.buy], limits=[Turns(2)]).run("Go.", session=session)
    assert (await Agent(model, tools=[shop.buy]).resume(session)).answer == "Done."
    assert shop.bought == ["bread", "milk", "eggs"]


async def test_without_a_journal_the_calls_that_a_session_waits_for_are_not_repeated_either() -> None:
    model, shop = shopping(), Shop(crash_in=1)
    buy = tool(shop.buy)
    with pytest.raises(Crash):
        await Agent(model, tools=[buy]).run("Go.", session=Session("shop"))
    with pytest.raises(JournalError, match="waits for the results of calls"):
        await Agent(model, tools=[buy]).run("Go.", session=Session("shop"))
    run = await Agent(model, tools=[buy]).resume(Session("shop"))
    assert run.answer == "Done."
    assert sorted(shop.bought) == ["bread", "eggs", "milk"]
    assert (run.messages[1].content or "").startswith("error: the process ended while this ran")


async def test_a_refused_first_turn_leaves_nothing_unfinished(tmp_path: Path, client_of: Callable[..., Client]) -> None:
    server = WireServer([said("ok")], failures=[refusal(400, "invalid_schema")])
    session = Session("trip-42", journal=tmp_path / "journal")
    agent = Agent(client_of(server))
    with pytest.raises(RefusedError, match="invalid_schema"):
        await agent.run("one", session=session)
    assert (await agent.run("two", session=session)).answer == "ok"


async def test_a_session_over_http_sends_its_name_its_head_and_only_what_is_new(
    client_of: Callable[..., Client],
) -> None:
    server = WireServer([called(("look", "{}")), said("rain"), said("more rain")])
    client = client_of(server)
    agent = Agent(client, tools=[tool(name="look")(lambda: "rain")], instructions="Be brief.")
    session = Session("trip:42")
    await agent.run("The weather?", session=session)
    await agent.run("And now?", session=session)
    assert [[one["role"] for one in body["messages"]] for body in server.bodies] == [
        ["system", "user"],
        ["tool"],
        ["user"],
    ]
    assert [(body["session_id"], body["session_mode"]) for body in server.bodies] == [("trip:42", "append")] * 3
    assert [request.headers.get("if-match") for request in server.requests] == [None, "turn_0", "turn_1"]
    assert [turn.id for turn in await session.turns()] == ["turn_0", "turn_1", "turn_2"]
    fork = await session.fork(at="turn_1")
    assert [turn.id for turn in await fork.turns()] == ["turn_0", "turn_1"]
    await session.rollback("turn_0")
    assert await session.tip() == "turn_0"
    await client.delete(session.id)
    assert await session.turns() == ()


async def test_a_long_session_is_read_page_by_page(client_of: Callable[..., Client]) -> None:
    server = WireServer(lambda body: said("ok"))
    agent, session = Agent(client_of(server)), Session("long")
    for number in range(203):
        server.sessions.setdefault("long", []).append(
            {"id": f"t{number}", "parent": f"t{number - 1}" if number else None, "messages": [], "answer": None}
        )
    await agent.run("one", session=session)
    turns = await session.turns()
    assert [turn.id for turn in turns] == [*(f"t{number}" for number in range(203)), "turn_0"]


async def test_one_session_has_one_run_at_a_time() -> None:
    session = Session("busy")

    async def nested() -> str:
        with pytest.raises(JournalError, match="a run of this session is going on"):
            await Agent(ScriptedModel([])).run("inner", session=session)
        return "refused"

    run = await Agent(ScriptedModel([call("nested"), "done"]), tools=[nested]).run("outer", session=session)
    assert [message.content for message in run.messages if message.role == "tool"] == ["refused"]


async def test_calls_that_the_token_budget_cut_are_not_made_by_a_resume() -> None:
    made = CallMade("a", Function("buy", "{}"))
    model = ScriptedModel([Reply(calls=(made,), finish_reason="length")])
    with pytest.raises(AnswerCut):
        await Agent(model).run("Go.", session=Session("cut"))
    with pytest.raises(JournalError, match="was cut among its calls"):
        await Agent(model).resume(Session("cut"))
