"""langchain-openai, pydantic-ai and litellm over Responses: tools, streams, typed answers."""

from __future__ import annotations

import os
from typing import Any

import pydantic
import pytest

from tests.clients.planned_server import Planned, planned
from tests.gateway.answers import Whole

LOOK = Whole("hm", "", (("look_up", '{"a": 1}'),))
SAID = Whole(text="It is 1.")


class Answer(pydantic.BaseModel):
    """A typed answer."""

    a: int


@pytest.fixture
def server() -> Any:
    with planned() as server:
        yield server


def test_langchain_calls_tools_streams_and_types_answers(server: Planned) -> None:
    langchain = pytest.importorskip("langchain_openai")
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool  # type: ignore[untyped-decorator]
    def look_up(a: int) -> str:
        """Looks things up."""
        return str(a)

    model: Any = langchain.ChatOpenAI(
        model="tiny", base_url=f"{server.url}/v1", api_key="k", use_responses_api=True, max_retries=0
    )
    server.answers = [LOOK, SAID, Whole(text='{"a": 5}'), LOOK]
    bound = model.bind_tools([look_up])
    called = bound.invoke("What is a?")
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("look_up", {"a": 1}) and called.usage_metadata["input_tokens"]
    said = bound.invoke([HumanMessage("What is a?"), called, ToolMessage("value 1", tool_call_id=call["id"])])
    assert said.text == "It is 1." and "value 1" in server.prompt()
    assert model.with_structured_output(Answer).invoke("x") == Answer(a=5)
    first, *rest = bound.stream("What is a?")
    for chunk in rest:
        first += chunk
    assert [call["args"] for call in first.tool_calls] == [{"a": 1}]


def test_pydantic_ai_calls_tools_and_types_answers(server: Planned) -> None:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIResponsesModel("tiny", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="k"))
    agent = pydantic_ai.Agent(model, instructions="Be brief.")

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def look_up(a: int) -> str:
        """Looks things up."""
        return f"value {a}"

    server.answers = [LOOK, SAID, Whole(calls=(("final_result", '{"a": 4}'),))]
    assert agent.run_sync("What is a?").output == "It is 1." and "value 1" in server.prompt()
    assert pydantic_ai.Agent(model, output_type=Answer).run_sync("x").output == Answer(a=4)


@pytest.mark.filterwarnings("ignore")
def test_litellm_is_answered(server: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")
    server.answers = [Whole(text="Hello there")]
    answered = litellm.responses(model="openai/tiny", input="Hi", api_base=f"{server.url}/v1", api_key="k")
    assert answered.output[0].content[0].text == "Hello there"
