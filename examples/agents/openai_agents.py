"""OpenAI's agents package, unchanged, in front of Espalier's /v1/responses.

Install openai-agents, start `espalier serve`, then:

    python examples/agents/openai_agents.py http://127.0.0.1:8000
"""

import sys

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"rain in {city}"


set_tracing_disabled(True)
client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
agent = Agent(
    name="guide",
    model=OpenAIResponsesModel(model="espalier", openai_client=client),
    model_settings=ModelSettings(tool_choice="required", temperature=0, max_tokens=400),
    tools=[get_weather],
)
result = Runner.run_sync(agent, "What is the weather in Oslo?", max_turns=5)
for item in result.new_items:
    print(item.type)
print(result.final_output)
