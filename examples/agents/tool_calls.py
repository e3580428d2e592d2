"""An agent with tools: typed functions whose errors the model can read, told as it happens.

Start `espalier serve`, then:

    python examples/agents/tool_calls.py "What is the weather in Oslo?"
"""

import sys
from typing import Annotated, Literal

from espalier.gateway.sdk import Agent, RunEnded, TextDelta, ToolError, ToolFinished, Turns, tool

WEATHER = {"Oslo": 4, "Rome": 19, "Lima": 17}


@tool(effect="none", timeout_s=10)
def get_weather(city: Annotated[str, "name of a city"], unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """Tell the weather in a city."""
    if city not in WEATHER:
        raise ToolError(f"no weather for {city!r}; there is some for {', '.join(WEATHER)}")
    degrees = WEATHER[city] if unit == "celsius" else WEATHER[city] * 9 / 5 + 32
    return f"{degrees:g} degrees {unit}"


agent = Agent(tools=[get_weather], limits=[Turns(5)])
for event in agent.stream_sync(sys.argv[1]):
    match event:
        case TextDelta(text):
            print(text, end="", flush=True)
        case ToolFinished(result):
            print(f"[{result.call.name} {result.call.arguments}: {result.content}]")
        case RunEnded(run):
            print(f"\n{run.turns} turns, {run.usage.total_tokens} tokens, {run.usage.cached_tokens} of them cached")
