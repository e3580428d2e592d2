"""`espalier serve`, killed by the tool that its own model called, and started again: the run goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.gateway.sdk import Agent, Client, Session, Settings, ToolResult
from espalier.gateway.sdk.event import Event, RunEnded, ToolFinished
from espalier.kernels.build import cache_folder

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Server:
    """A server on a port of its own, which can be killed and started again over the same store."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, "ESPALIER_DATA_DIR": str(folder), "ESPALIER_CACHE_DIR": str(cache_folder())}
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        """Begin to start; who asks has to wait until it answers."""
        command = [sys.executable, "-P", "-m", "espalier.gateway.cli", "serve", "--port", str(self.port)]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.kill()


async def test_a_run_goes_on_when_the_server_is_killed_between_its_turns(server: Server, tmp_path: Path) -> None:
    restarts: list[str] = []

    def get_weather(city: str) -> str:
        """Tell the weather in a city."""
        server.kill()
        server.start()
        restarts.append(city)
        return f"4 degrees in {city}"

    settings = Settings(tool_choice="required", temperature=0, max_tokens=300)
    agent = Agent(Client(server.url), tools=[get_weather], settings=settings)
    session = Session("trip-42", journal=tmp_path / "journal")
    events: list[Event[str]] = [event async for event in agent.stream("What is the weather in Oslo?", session=session)]
    results: list[ToolResult] = [event.result for event in events if isinstance(event, ToolFinished)]
    assert len(restarts) == len(results) >= 1
    assert isinstance(events[-1], RunEnded)
    turns = await session.turns()
    assert [turn.is_pending for turn in turns] == [True] * (len(turns) - 1) + [False]
    assert [message.role for message in turns[1].messages] == ["tool"]
