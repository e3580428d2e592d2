"""A client of the SDK in front of the tests' own server, which waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from espalier.gateway.sdk import Client
from tests.gateway.sdk.wire_server import CuttingTransport, WireServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client_of() -> Callable[..., Client]:
    """Makes a client: of which server, with which cuts, and where it writes how long it would have waited."""

    def make(
        server: WireServer, cuts: Iterable[int | None] = (), waits: list[float] | None = None, **more: Any
    ) -> Client:
        async def sleep(delay_s: float) -> None:
            if waits is not None:
                waits.append(delay_s)

        transport = CuttingTransport(server.app, cuts)
        return Client("http://test", transport=transport, sleep=sleep, random=lambda: 0.0, **more)

    return make
