"""The loop with a scripted model: turns, tools, answers, limits, and what is told of them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from espalier.gateway.sdk import (
    Agent,
    AnswerCut,
    AnswerFiltered,
    AnswerUnfit,
    Call,
    Cost,
    CostReached,
    DefinitionError,
    Event,
    Hooks,
    Message,
    Price,
    Reply,
    RunEnded,
    ScriptedModel,
    Seconds,
    Settings,
    TextDelta,
    TimeReached,
    Tokens,
    TokensReached,
    ToolFinished,
    ToolStarted,
    Turns,
    TurnsReached,
    Usage,
    assistant,
    call,
    system,
    tool,
    user,
)
from espalier.gateway.sdk.message import CallMade, Function

pytestmark = pytest.mark.anyio


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


class Trip(msgspec.Struct):
    city: str
    days: int


@dataclass
class Place:
    city: str


class Checked(pydantic.BaseModel):
    days: int

    @pydantic.field_validator("days")
    @classmethod
    def check(cls, days: int) -> int:
        if days % 2:
            raise ValueError("days must be even")
        return days


async def test_the_model_is_asked_until_it_answers() -> None:
    model = ScriptedModel([call("weather", city="Oslo"), "Take an umbrella."])
    run = await Agent(model, tools=[weather], instructions="Be brief.").run("Oslo?")
    assert run.answer == "Take an umbrella."
    assert run.turns == 2
    first, second = model.queries
    assert first.messages == (system("Be brief."), user("Oslo?"))
    assert second.messages[:2] == first.messages
    assert [message.role for message in run.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert second.messages[3] == Message("tool", "rain in Oslo", tool_call_id=second.messages[2].tool_calls[0].id)
    assert first.tools[0].name == "weather"
    assert [query.key for query in model.queries] == [f"{run.id}-1", f"{run.id}-2"]


async def test_a_conversation_goes_on_with_the_messages_of_the_run_before() -> None:
    model = ScriptedModel(["In Oslo.", "It rains."])
    agent = Agent(model)
    run = await agent.run([user("Where am I?")])
    assert (await agent.run([*run.messages, user("The weather?")])).answer == "It rains."
    assert model.queries[1].messages == (user("Where am I?"), assistant("In Oslo."), user("The weather?"))


async def test_the_tools_of_a_turn_run_side_by_side_and_their_results_keep_the_order() -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(name: str) -> str:
        together.wait()
        return name

    model = ScriptedModel([[call("meet", name=name) for name in "abc"], "done"])
    run = await Agent(model, tools=[meet]).run("Go.")
    assert [message.content for message in run.messages if message.role == "tool"] == ["a", "b", "c"]


async def test_errors_of_a_call_go_to_the_model_which_can_mend_them() -> None:
    model = ScriptedModel([[call("weather", town="Oslo"), call("wether")], call("weather", city="Oslo"), "Rain."])
    run = await Agent(model, tools=[weather]).run("Oslo?")
    assert [message.content for message in run.messages if message.role == "tool"] == [
        "error: the arguments of weather don't fit: Object contains unknown field `town`",
        "error: there is no tool 'wether'; there are: weather",
        "rain in Oslo",
    ]


ANSWERS: list[tuple[Any, str, object]] = [
    (Trip, '{"city":"Oslo","days":3}', Trip("Oslo", 3)),
    (Place, '{"city":"Oslo"}', Place("Oslo")),
    (Checked, '{"days":2}', Checked(days=2)),
    (list[Place], '[{"city":"Oslo"}]', [Place("Oslo")]),
    (int, "3", 3),
    ({"type": "object"}, '{"a":1}', {"a": 1}),
    (str, "words", "words"),
]


@pytest.mark.parametrize(("kind", "text", "value"), ANSWERS, ids=lambda one: str(one))
async def test_an_answer_has_the_type_that_was_asked_for(kind: Any, text: str, value: object) -> None:
    model = ScriptedModel([text])
    assert (await Agent(model).run("Go.", answer=kind)).answer == value
    answer = model.queries[0].answer
    assert (answer is None) == (kind is str)


async def test_an_answer_that_a_validator_refuses_is_asked_for_again() -> None:
    model = ScriptedModel(['{"days":3}', '{"days":4}'])
    run = await Agent(model).run("Go.", answer=Checked)
    assert run.answer.days == 4
    told = "error: the answer does not fit: days: Value error, days must be even. Answer again."
    assert model.queries[1].messages[-1] == user(told)


async def test_an_answer_that_never_fits_stops_the_run() -> None:
    with pytest.raises(AnswerUnfit, match="days: Expected `int`") as caught:
        await Agent(ScriptedModel(['{"city":"Oslo","days":"3"}'] * 3)).run("Go.", answer=Trip)
    assert caught.value.run.turns == 3
    assert caught.value.run.answer == '{"city":"Oslo","days":"3"}'


@pytest.mark.parametrize(("reason", "kind"), [("length", AnswerCut), ("content_filter", AnswerFiltered)])
async def test_an_answer_that_is_not_whole_is_no_answer(reason: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        await Agent(ScriptedModel([Reply("Once upon", finish_reason=reason)])).run("Go.")
    assert caught.value.run.answer == "Once upon"  # type: ignore[attr-defined]


def again() -> ScriptedModel:
    """A model that never answers; each turn costs 100 tokens."""
    made = CallMade("call_1", Function("weather", '{"city":"Oslo"}'))
    return ScriptedModel(lambda query: Reply(calls=(made,), finish_reason="tool_calls", usage=Usage(90, 0, 10)))


async def test_limits_stop_the_run_and_each_is_a_type_of_its_own() -> None:
    with pytest.raises(TurnsReached) as turns:
        await Agent(again(), tools=[weather], limits=[Turns(3)]).run("Go.")
    assert (turns.value.run.turns, turns.value.limit) == (3, Turns(3))
    with pytest.raises(TokensReached) as tokens:
        await Agent(again(), tools=[weather], limits=[Tokens(250)]).run("Go.")
    assert tokens.value.run.usage.total_tokens == 300
    price = Price(prompt=1e4, completion=1e4)
    with pytest.raises(CostReached) as cost:
        await Agent(again(), tools=[weather], limits=[Cost(2)], price=price).run("Go.")
    assert cost.value.run.cost == pytest.approx(2.0)
    assert [message.role for message in cost.value.run.messages[-2:]] == ["assistant", "tool"]


async def test_the_time_limit_ends_what_runs() -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeReached):
        await Agent(ScriptedModel([call("forever")]), tools=[forever], limits=[Seconds(0.01)]).run("Go.")
    assert cancelled.is_set()


async def test_a_cost_limit_without_a_price_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="give the agent a price"):
        await Agent(again(), tools=[weather], limits=[Cost(2)]).run("Go.")


async def test_settings_go_with_every_query() -> None:
    model = ScriptedModel([call("weather", city="Oslo"), "Rain."])
    settings = Settings(temperature=0, max_tokens=50)
    await Agent(model, tools=[weather], settings=settings).run("Oslo?")
    assert [query.settings for query in model.queries] == [settings, settings]


@pytest.mark.parametrize("choice", ["required", "weather"])
async def test_a_call_is_required_of_the_first_turn_only(choice: str) -> None:
    model = ScriptedModel([call("weather", city="Oslo"), "Rain."])
    await Agent(model, tools=[weather], settings=Settings(tool_choice=choice)).run("Oslo?")
    assert [query.settings.tool_choice for query in model.queries] == [choice, "auto"]


def test_a_choice_that_is_no_tool_is_refused() -> None:
    with pytest.raises(DefinitionError, match="tool_choice is 'wether'"):
        Agent(ScriptedModel([]), tools=[weather], settings=Settings(tool_choice="wether"))


async def test_a_stream_tells_what_happens_in_its_order() -> None:
    model = ScriptedModel([call("weather", city="Oslo"), "Take an umbrella."])
    events = [event async for event in Agent(model, tools=[weather]).stream("Oslo?")]
    assert [type(event).__name__ for event in events] == [
        *("TurnStarted", "CallStarted", "ArgumentsDelta", "CallReady", "Replied", "ToolStarted", "ToolFinished"),
        *("TurnStarted", "TextDelta", "TextDelta", "TextDelta", "Replied", "RunEnded"),
    ]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Take an umbrella."
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert last.run.answer == "Take an umbrella."


async def test_a_stream_raises_what_the_run_raises() -> None:
    stream = Agent(again(), tools=[weather], limits=[Turns(1)]).stream("Go.")
    async for event in stream:
        if isinstance(event, ToolFinished):
            break
    with pytest.raises(TurnsReached):
        await anext(stream)


async def test_closing_a_stream_ends_the_run() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    stream = Agent(ScriptedModel([call("forever")]), tools=[forever]).stream("Go.")
    async for event in stream:
        if isinstance(event, ToolStarted):
            await started.wait()
            break
    await stream.aclose()
    assert ended.is_set()


class Guard(Hooks):
    """Lets nobody pay, and watches."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def before_call(self, call: Call) -> str | None:
        return "error: ask a person first" if call.name == "pay" else None

    async def on_event(self, event: Event[object]) -> None:
        self.seen.append(type(event).__name__)


async def test_a_hook_may_answer_in_place_of_a_tool_and_sees_every_event() -> None:
    paid: list[int] = []

    def pay(amount: int) -> None:
        paid.append(amount)

    guard = Guard()
    model = ScriptedModel([[call("pay", amount=3), call("weather", city="Oslo")], "Not paid."])
    run = await Agent(model, tools=[pay, weather], hooks=guard).run("Pay.")
    assert paid == []
    assert [message.content for message in run.messages if message.role == "tool"] == [
        "error: ask a person first",
        "rain in Oslo",
    ]
    assert guard.seen.count("ToolStarted") == 1
    assert guard.seen[-1] == "RunEnded"


async def test_what_a_hook_raises_ends_the_run() -> None:
    class Fuse(Hooks):
        async def before_call(self, call: Call) -> str | None:
            raise PermissionError("no tools today")

    with pytest.raises(PermissionError, match="no tools today"):
        await Agent(ScriptedModel([call("weather", city="Oslo")]), tools=[weather], hooks=Fuse()).run("Go.")


async def test_a_tool_without_effects_is_started_before_the_turn_ends() -> None:
    looked = asyncio.Event()

    @tool(effect="none")
    async def look() -> str:
        looked.set()
        return "seen"

    class Early(Hooks):
        async def on_event(self, event: Event[object]) -> None:
            if type(event).__name__ == "CallReady":
                await looked.wait()  # would wait for ever if the tool were started behind the turn's end

    model = ScriptedModel([call("look"), "done"])
    run = await Agent(model, tools=[look], hooks=Early(), limits=[Seconds(10)]).run("Go.")
    assert run.messages[-2].content == "seen"


def test_run_sync_and_stream_sync_need_no_event_loop() -> None:
    agent = Agent(ScriptedModel([call("weather", city="Oslo"), "Rain.", "Sun."]), tools=[weather])
    assert agent.run_sync("Oslo?").answer == "Rain."
    assert [event.text for event in agent.stream_sync("Rome?") if isinstance(event, TextDelta)] == ["Sun."]
    assert Agent(ScriptedModel(["3"])).run_sync("How many?", answer=int).answer + 1 == 4


def test_stream_sync_may_be_left_early() -> None:
    for event in Agent(ScriptedModel(["a b c"])).stream_sync("Go."):
        if isinstance(event, TextDelta):
            break


async def test_in_an_event_loop_run_sync_says_what_to_use() -> None:
    with pytest.raises(DefinitionError, match=r"await agent\.run"):
        Agent(ScriptedModel(["x"])).run_sync("Go.")


async def test_a_script_that_has_ended_says_what_it_was_asked() -> None:
    with pytest.raises(AssertionError, match="the script has ended"):
        await Agent(ScriptedModel([])).run("Go.")


async def test_a_script_may_be_a_function_and_may_fail() -> None:
    model = ScriptedModel(lambda query: ConnectionError("gone") if len(query.messages) > 1 else "one")
    assert (await Agent(model).run("Go.")).answer == "one"
    with pytest.raises(ConnectionError, match="gone"):
        await Agent(model).run([user("a"), user("b")])
