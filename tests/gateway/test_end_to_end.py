"""The bundled model behind the API: the engine in a process of its own, real prompts, real caching."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from espalier.engine.options import EngineOptions
from espalier.gateway.app import create_app
from espalier.gateway.check_process import ProcessChecker
from espalier.gateway.options import GatewayOptions
from espalier.gateway.replica import Replica

pytestmark = pytest.mark.anyio
OPTIONS = EngineOptions(threads=1, kv_memory_bytes=64 * 2**20, max_context=512)
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


async def test_the_bundled_model_answers_over_the_api(folder: Path) -> None:
    async with Replica(OPTIONS) as replica:
        app = create_app(replica, folder=folder, model="bundled", options=GatewayOptions())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as http:

            async def chat(*contents: str, **more: Any) -> httpx.Response:
                roles = ("user", "assistant")
                messages = [{"role": roles[at % 2], "content": content} for at, content in enumerate(contents)]
                return await http.post("/v1/chat/completions", json={"messages": messages, **GREEDY, **more})

            first = (await chat("Hello there, who are you?")).json()
            text = first["choices"][0]["message"]["content"]
            assert text and first["usage"]["completion_tokens"] <= 12

            streamed = (await chat("Hello there, who are you?", stream=True)).text
            blocks = [json.loads(block[6:]) for block in streamed.split("\n\n")[:-2]]
            assert "".join(block["choices"][0]["delta"].get("content", "") for block in blocks) == text

            second = (await chat("Hello there, who are you?", text, "And how are you?")).json()["usage"]
            assert second["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1

            several = (await chat("Hi", n=3, seed=1, temperature=1, logprobs=True, top_logprobs=2)).json()
            assert len(several["choices"]) == 3
            assert all(len(entry["top_logprobs"]) == 2 for entry in several["choices"][0]["logprobs"]["content"])

            for refused in (await chat("Hi", logit_bias={"900000": 1}), await chat("Hi " * 2000)):
                assert refused.status_code == 400
            assert "espalier_prefix_hit_tokens_total" in (await http.get("/metrics")).text
            assert (await http.get("/ready")).status_code == 200


async def test_the_bundled_model_calls_tools_and_answers_schemas_over_the_api(folder: Path) -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "maximum": 9}},
        "required": ["city"],
    }
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    checker = ProcessChecker()
    async with Replica(OPTIONS) as replica:
        options = GatewayOptions(check_answers=True)
        app = create_app(replica, folder=folder, model="bundled", options=options, checker=checker)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as http:
            messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Oslo?"}]

            async def chat(**more: Any) -> httpx.Response:
                return await http.post(
                    "/v1/chat/completions", json={"messages": messages, "temperature": 0, "seed": 1, **more}
                )

            asked: dict[str, Any] = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
            called = (await chat(**asked)).json()
            (call,) = called["choices"][0]["message"]["tool_calls"]
            result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
            again = (await chat(**asked, messages=[*messages, called["choices"][0]["message"], result])).json()
            # While the tool ran, what stands before its result was computed, too.
            cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
            assert cached > called["usage"]["total_tokens"] + 3
            streamed = (await chat(**asked, stream=True)).text
            chunks = [json.loads(block[6:]) for block in streamed.split("\n\n")[:-2]]
            deltas = [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_calls", ())]
            assert "".join(delta["function"]["arguments"] for delta in deltas) == call["function"]["arguments"]
            jsonschema.validate(json.loads(call["function"]["arguments"]), parameters)
            assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
            assert [chunk["espalier"].get("completed_call") for chunk in chunks].count(deltas[0]["id"]) == 1

            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": parameters}}
            whole = (await chat(response_format=form, temperature=1.5, seed=4, max_tokens=30)).json()
            jsonschema.validate(json.loads(whole["choices"][0]["message"]["content"]), parameters)
            assert "maxLength" in whole["espalier"]["schema"]["enforced"]

            refused = (await chat(**asked, max_tokens=3)).json()["error"]
            assert refused["param"] == "max_tokens" and "a short answer" in refused["message"]
            form["json_schema"] = {"name": "x", "schema": {"allOf": [{"type": "string"}, {"type": "null"}]}}
            assert (await chat(response_format=form)).json()["error"]["code"] == "unsatisfiable_schema"
    await checker.close()
