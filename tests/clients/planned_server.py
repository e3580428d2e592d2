"""A real server on loopback, with a store, whose engine gives the answers of a plan, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espalier.engine.hub import locate
from espalier.engine.options import BUNDLED_MODEL
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.app import create_app
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import READY, ScriptedClient
from tests.gateway.answers import Whole
from tests.gateway.live_server import served, stored
from tests.gateway.part_script import tells


@dataclass
class Planned:
    """The server's address, the answers that are left, and the engine that gives them."""

    url: str
    engine: ScriptedClient
    answers: list[Whole] = field(default_factory=list)

    def prompt(self) -> str:
        """What the model was last asked."""
        tokenizer = Tokenizer.load(locate(BUNDLED_MODEL))
        return tokenizer.decode(self.engine.requests[-1].token_ids, skip_special=False)


@contextmanager
def planned() -> Iterator[Planned]:
    """Serve until the context is left."""
    server = Planned("", ScriptedClient(lambda request: tells(server.answers.pop(0))(request), ready=READY))
    with tempfile.TemporaryDirectory() as folder, stored(Path(folder) / "sessions") as sessions:
        app: Any = create_app(
            server.engine, folder=locate(BUNDLED_MODEL), model="tiny", options=GatewayOptions(), sessions=sessions
        )
        with served(app) as url:
            server.url = url
            yield server
    assert not server.answers, "the client asked for less than was planned"
