"""langchain-openai, pydantic-ai, litellm and openai-agents over chat completions: tools, streams, typed answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pydantic
import pytest

from espalier.gateway.app import create_app
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import READY, ScriptedClient
from tests.clients.test_openai_chat import FOLDER, TOKENIZER
from tests.gateway.live_server import served
from tests.gateway.said import says

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs: event loops and sockets that they leave to the collector
LOOK = '<tool_call>\n{"name": "look_up", "arguments": {"a": 1}}\n</tool_call>'
SAID = "It is 1."


class Answer(pydantic.BaseModel):
    """A typed answer."""

    a: int


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Makes servers whose model says these texts one after the other; gives their base URL."""
    with ExitStack() as stack:

        def make(*texts: str) -> str:
            engine = ScriptedClient(says(TOKENIZER, *texts), ready=READY)
            app: Any = create_app(engine, folder=FOLDER, model="tiny", options=GatewayOptions())
            return stack.enter_context(served(app)) + "/v1"

        yield make


def test_langchain_calls_tools_streams_and_types_answers(serve: Any) -> None:
    langchain = pytest.importorskip("langchain_openai")
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool  # type: ignore[untyped-decorator,unused-ignore]
    def look_up(a: int) -> str:
        """Looks things up."""
        return str(a)

    url = serve(LOOK, SAID, LOOK, '{"a": 5}', '{"a": 6}')
    model: Any = langchain.ChatOpenAI(
        model="tiny", base_url=url, api_key="k", use_responses_api=False, max_retries=0, stream_usage=True
    )
    bound = model.bind_tools([look_up])
    called = bound.invoke("What is a?")
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("look_up", {"a": 1}) and called.usage_metadata["input_tokens"]
    assert bound.invoke([HumanMessage("What is a?"), called, ToolMessage("1", tool_call_id=call["id"])]).text == SAID
    first, *rest = bound.stream("What is a?")
    for chunk in rest:
        first += chunk
    assert [call["args"] for call in first.tool_calls] == [{"a": 1}]
    assert model.with_structured_output(Answer).invoke("x") == Answer(a=5)
    assert model.with_structured_output(Answer, method="json_mode").invoke("as json") == Answer(a=6)


def test_langchain_reads_answers_by_function_calling(serve: Any) -> None:
    langchain = pytest.importorskip("langchain_openai")
    said = '<tool_call>\n{"name": "Answer", "arguments": {"a": 7}}\n</tool_call>'
    model: Any = langchain.ChatOpenAI(model="tiny", base_url=serve(said), api_key="k", max_retries=0)
    assert model.with_structured_output(Answer, method="function_calling").invoke("x") == Answer(a=7)


def test_pydantic_ai_calls_tools_and_types_answers(serve: Any) -> None:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    final = '<tool_call>\n{"name": "final_result", "arguments": {"a": 5}}\n</tool_call>'
    url = serve(LOOK, final, '{"a": 6}')
    model = OpenAIChatModel("tiny", provider=OpenAIProvider(base_url=url, api_key="k"))
    agent = pydantic_ai.Agent(model, output_type=Answer)

    @agent.tool_plain  # type: ignore[untyped-decorator,unused-ignore]
    def look_up(a: int) -> str:
        """Looks things up."""
        return str(a)

    assert agent.run_sync("What is a?").output == Answer(a=5)
    native = pydantic_ai.Agent(model, output_type=pydantic_ai.NativeOutput(Answer))
    assert native.run_sync("What is a?").output == Answer(a=6)


def test_litellm_calls_tools_and_streams(serve: Any) -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch one else
    litellm = pytest.importorskip("litellm")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": schema}}]
    asked: dict[str, Any] = {
        "model": "openai/tiny", "api_base": serve(LOOK, LOOK, '{"a": 5}'), "api_key": "k",
        "messages": [{"role": "user", "content": "What is a?"}],
    }  # fmt: skip
    message = litellm.completion(**asked, tools=tools).choices[0].message
    assert message.tool_calls[0].function.arguments == '{"a": 1}'
    chunks = list(litellm.completion(**asked, tools=tools, stream=True))
    assert litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0].function.arguments == '{"a": 1}'
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert litellm.completion(**asked, response_format=form).choices[0].message.content == '{"a": 5}'


@pytest.mark.anyio
async def test_openai_agents_run_tools_handoffs_and_typed_answers(serve: Any) -> None:
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)

    @agents.function_tool  # type: ignore[untyped-decorator,unused-ignore]
    def look_up(a: int) -> str:
        """Looks things up."""
        return f"value {a}"

    handoff = '<tool_call>\n{"name": "transfer_to_expert", "arguments": {}}\n</tool_call>'
    url = serve(LOOK, handoff, '{"a": 5}')
    client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
    model = agents.OpenAIChatCompletionsModel(model="tiny", openai_client=client)
    expert = agents.Agent("expert", instructions="You know.", model=model, output_type=Answer)
    first = agents.Agent("first", instructions="You ask.", model=model, tools=[look_up], handoffs=[expert])
    result = await agents.Runner.run(first, "What is a?")
    assert result.final_output == Answer(a=5) and result.last_agent is expert
    streamed = agents.Runner.run_streamed(agents.Agent("plain", model=model, output_type=Answer), "What is a?")
    assert [event async for event in streamed.stream_events()] and streamed.final_output == Answer(a=5)
    await client.close()
