"""openai-agents over Responses, as it is by default: tools, handoffs, typed answers, state kept by the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest

from tests.clients.planned_server import Planned, planned
from tests.gateway.answers import Whole

agents = pytest.importorskip("agents")

pytestmark = pytest.mark.anyio
LOOK = Whole("hm", "", (("look_up", '{"a": 1}'), ("look_up", '{"a": 2}')))
SAID = Whole(text="It is 1.")


class Answer(pydantic.BaseModel):
    """A typed answer."""

    a: int


@pytest.fixture
def server() -> Any:
    with planned() as server:
        yield server


@pytest.fixture
async def client(server: Planned) -> AsyncIterator[openai.AsyncOpenAI]:
    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as made:
        yield made


def agent(client: openai.AsyncOpenAI, name: str = "A", **more: Any) -> Any:
    """An agent with a tool."""

    @agents.function_tool  # type: ignore[untyped-decorator]
    def look_up(a: int) -> str:
        """Looks things up."""
        return f"value {a}"

    model = agents.OpenAIResponsesModel("tiny", client)
    return agents.Agent(name=name, instructions="Be brief.", model=model, tools=[look_up], **more)


async def test_tools_are_run_and_answered(server: Planned, client: openai.AsyncOpenAI) -> None:
    server.answers = [LOOK, SAID]
    done = await agents.Runner.run(agent(client), "What is a?")
    assert done.final_output == "It is 1."
    kinds = [type(item).__name__ for item in done.new_items]
    assert kinds == ["ReasoningItem", *["ToolCallItem"] * 2, *["ToolCallOutputItem"] * 2, "MessageOutputItem"]
    assert "value 1" in server.prompt() and "value 2" in server.prompt()


async def test_a_run_is_streamed(server: Planned, client: openai.AsyncOpenAI) -> None:
    server.answers = [LOOK, SAID]
    done = agents.Runner.run_streamed(agent(client), "What is a?")
    kinds = {event.type async for event in done.stream_events()}
    assert done.final_output == "It is 1." and {"raw_response_event", "run_item_stream_event"} <= kinds


async def test_answers_are_typed(server: Planned, client: openai.AsyncOpenAI) -> None:
    server.answers = [Whole(text='{"a": 3}')]
    assert (await agents.Runner.run(agent(client, output_type=Answer), "x")).final_output == Answer(a=3)


async def test_an_agent_hands_off(server: Planned, client: openai.AsyncOpenAI) -> None:
    server.answers = [Whole(calls=(("transfer_to_b", "{}"),)), SAID]
    done = await agents.Runner.run(agent(client, handoffs=[agent(client, "B")]), "x")
    assert (done.last_agent.name, done.final_output) == ("B", "It is 1.")


@pytest.mark.parametrize("how", ["conversation_id", "auto_previous_response_id"])
async def test_the_server_keeps_the_history(server: Planned, client: openai.AsyncOpenAI, how: str) -> None:
    value = (await client.conversations.create()).id if how == "conversation_id" else True
    server.answers = [LOOK, SAID, Whole(text="Again 1.")]
    first = await agents.Runner.run(agent(client), "What is a?", **{how: value})
    more: dict[str, Any] = (
        {how: value} if how == "conversation_id" else {"previous_response_id": first.last_response_id}
    )
    second = await agents.Runner.run(agent(client), "And now?", **more)
    assert second.final_output == "Again 1."
    assert "What is a?" in server.prompt() and "value 2" in server.prompt() and "And now?" in server.prompt()


async def test_a_session_lives_in_a_conversation(server: Planned, client: openai.AsyncOpenAI) -> None:
    session = agents.OpenAIConversationsSession(openai_client=client)
    server.answers = [LOOK, SAID, Whole(text="Again 1.")]
    for text in ("What is a?", "And now?"):
        await agents.Runner.run(agent(client), text, session=session)
    num_items = len(await session.get_items())
    last: Any = await session.pop_item()
    assert last["content"][0]["text"] == "Again 1." and len(await session.get_items()) == num_items - 1
    await session.clear_session()
