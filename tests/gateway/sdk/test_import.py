"""The SDK is light: what an agent's machine loads, in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

LOAD = "import espalier.gateway.sdk, json, sys; print(json.dumps(sorted(sys.modules)))"
# Whom an agent's machine need not have.
SERVER = {"torch", "numpy", "starlette", "uvicorn", "httpx", "tokenizers", "jinja2", "safetensors", "huggingface_hub"}
SERVER |= {"outlines_core", "prometheus_client", "mcp", "opentelemetry", "pydantic", "sqlite3", "transformers"}


def test_importing_the_sdk_loads_neither_torch_nor_the_server() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOAD], capture_output=True, text=True, check=True, cwd="/")
    loaded: list[str] = json.loads(done.stdout)
    assert {name.split(".")[0] for name in loaded} & SERVER == set()
    ours = [name for name in loaded if name.startswith("espalier.") and not name.startswith("espalier.gateway.sdk")]
    assert ours == ["espalier.gateway"]
