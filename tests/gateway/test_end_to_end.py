"""The bundled model behind the API: the engine in a process of its own, real prompts, real caching."""

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
