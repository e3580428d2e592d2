"""The application in this process, in front of a scripted engine, with the bundled model's tokenizer and template."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import ASGIApp

from espalier.engine.hub import locate
from espalier.engine.messages import Ready
from espalier.engine.options import BUNDLED_MODEL
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.app import create_app
from espalier.gateway.auth import KeyRing
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import READY, Script, ScriptedClient, answer
from espalier.sessions import Sessions

HELLO = answer(["Hel", "lo", " there"], cached_tokens=2, written_tokens=1)


@dataclass
class Api:
    """The application, the engine behind it, and a client in front of it."""

    app: ASGIApp
    engine: ScriptedClient
    http: httpx.AsyncClient
    tokenizer: Tokenizer

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def chat(self, content: Any = "Hello", **more: Any) -> httpx.Response:
        return await self.post("/v1/chat/completions", **{"messages": [{"role": "user", "content": content}], **more})

    async def complete(self, prompt: Any = "Hello", **more: Any) -> httpx.Response:
        return await self.post("/v1/completions", prompt=prompt, **more)


@pytest.fixture(scope="session")
def folder() -> Path:
    return locate(BUNDLED_MODEL)


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture
def make_api(folder: Path, tokenizer: Tokenizer) -> Callable[..., Api]:
    """Makes an application: `script` or `engine`, the `max_context`, `keys`, `sessions`, and gateway options."""

    def make(
        script: Script = HELLO,
        *,
        engine: ScriptedClient | None = None,
        max_context: int = READY.max_context,
        keys: KeyRing | None = None,
        sessions: Sessions | None = None,
        **options: Any,
    ) -> Api:
        ready: Ready = msgspec.structs.replace(READY, max_context=max_context, vocab_size=tokenizer.vocab_size)
        client = engine or ScriptedClient(script, ready=ready)
        app = create_app(
            client, folder=folder, model="tiny", options=GatewayOptions(**options), keys=keys, sessions=sessions
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        return Api(app, client, httpx.AsyncClient(transport=transport, base_url="http://test"), tokenizer)

    return make


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    """A store of the test's own."""
    opened = await Sessions.open(tmp_path / "sessions")
    yield opened
    await opened.close()


@pytest.fixture
def make(make_api: Callable[..., Api], sessions: Sessions) -> Callable[..., Api]:
    """Makes an application that stores; see `make_api`."""
    return lambda *script, **more: make_api(*script, sessions=sessions, **more)


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
