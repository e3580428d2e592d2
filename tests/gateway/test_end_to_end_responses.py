"""The bundled model behind Responses and Messages: a real engine in a process of its own, a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from espalier.engine.options import EngineOptions
from espalier.gateway.app import create_app
from espalier.gateway.options import GatewayOptions
from espalier.gateway.replica import Replica
from espalier.sessions import Sessions

pytestmark = pytest.mark.anyio
OPTIONS = EngineOptions(threads=1, kv_memory_bytes=64 * 2**20, max_context=512)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}
ASKED = "What is the weather in Oslo?"


async def test_the_bundled_model_answers_over_both_apis(folder: Path, sessions: Sessions) -> None:
    async with Replica(OPTIONS) as replica:
        app = create_app(replica, folder=folder, model="bundled", options=GatewayOptions(), sessions=sessions)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as http:

            async def ask(path: str = "/v1/responses", **body: Any) -> Any:
                response = await http.post(path, json={"temperature": 0, **body})
                return response.json() if not body.get("stream") else response.text

            tools = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS}]
            asked: dict[str, Any] = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
            called = await ask(input=ASKED, **asked)
            (call,) = called["output"]
            assert set(json.loads(call["arguments"])) == {"city"} and called["usage"]["output_tokens"] > 5

            # The next turn goes on token by token: everything before the result is warm.
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
            more = await ask(input=[output], previous_response_id=called["id"], tools=tools, max_output_tokens=8)
            assert more["espalier"]["lossless"]
            assert more["usage"]["input_tokens_details"]["cached_tokens"] >= called["usage"]["total_tokens"] - 1

            whole = await ask(input="Hello there", max_output_tokens=8)
            streamed = await ask(input="Hello there", max_output_tokens=8, stream=True)
            events = [json.loads(block.split("data: ")[1]) for block in streamed.split("\n\n")[:-2]]
            text = whole["output"][0]["content"][0]["text"]
            assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == text

            refused = await ask(input="Hi", **asked, max_output_tokens=2)
            assert refused["error"]["param"] == "max_output_tokens"

            message = await ask(
                "/v1/messages", messages=[{"role": "user", "content": ASKED}], max_tokens=60,
                tools=[{"name": "get_weather", "input_schema": PARAMETERS}], tool_choice={"type": "any"},
            )  # fmt: skip
            assert message["stop_reason"] == "tool_use" and set(message["content"][-1]["input"]) == {"city"}
            # The same prompt as that of the first response.
            assert message["usage"]["cache_read_input_tokens"] >= called["usage"]["input_tokens"] - 1
