"""The OpenAI client, unchanged: tools, and an answer parsed by pydantic.

Start `espalier serve`, then:

    python examples/agents/openai_client.py http://127.0.0.1:8000
"""

import sys

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel


class GetWeather(BaseModel):
    """Tell the weather in a city."""

    city: str


class Trip(BaseModel):
    """What was planned."""

    city: str
    days: int


client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
said: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Oslo?"}]
tools = [openai.pydantic_function_tool(GetWeather)]
answer = client.chat.completions.parse(model="espalier", messages=said, tools=tools, tool_choice="required")
for call in answer.choices[0].message.tool_calls or ():
    print(call.function.name, call.function.parsed_arguments)

said = [{"role": "user", "content": "I go to Oslo for 3 days. Put that into JSON."}]
trip = client.chat.completions.parse(model="espalier", messages=said, response_format=Trip).choices[0].message.parsed
print(trip)
