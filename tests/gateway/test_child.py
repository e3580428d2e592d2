from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from espalier.engine.errors import FrameError
from espalier.engine.messages import Abort, Drain, Drained, Ready
from espalier.engine.options import EngineOptions
from espalier.gateway import log
from espalier.gateway.child import EngineChild

pytestmark = pytest.mark.anyio

SCRIPTED = (sys.executable, "-P", "-m", "espalier.engine.scripted_engine")
WAIT_S = 30


@pytest.fixture
def records() -> Iterator[list[dict[str, Any]]]:
    """What was logged, filled in when `read` is called."""
    written: list[dict[str, Any]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(log.JsonFormatter().format(record)))

    handler, logger = Collect(), logging.getLogger("espalier")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-c", code)


async def test_a_process_is_spawned_spoken_with_and_ended() -> None:
    child = await EngineChild.spawn(EngineOptions(), SCRIPTED)
    assert child.pid > 0
    [ready] = await child.receive(WAIT_S) or []
    assert isinstance(ready, Ready)
    assert await child.receive(0) is None
    child.send(Drain())
    assert (await child.receive(WAIT_S) or [])[-1] == Drained()
    assert await child.receive(WAIT_S) == []
    assert await child.end(WAIT_S) == "exit status 0"
    child.send(Abort("too late"))
    child.kill()


async def test_a_process_that_does_not_end_by_itself_is_killed() -> None:
    child = await EngineChild.spawn(EngineOptions(), python("import threading; threading.Event().wait()"))
    assert await child.end(0) == "signal SIGKILL"


async def test_what_is_no_frame_of_an_engine_is_an_error() -> None:
    code = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).sendall(b'GET / HTTP/1.1')"
    child = await EngineChild.spawn(EngineOptions(), python(code))
    with pytest.raises(FrameError):
        await child.receive(WAIT_S)
    await child.end(WAIT_S)


async def test_lines_of_the_process_become_log_records(records: list[dict[str, Any]]) -> None:
    lines = [
        '{"level": "warning", "event": "odd", "self": 1, "ts": "forged", "step": 7}',
        '{"level": "weird", "event": "odd"}',
        "plain words",
        '{"level": "info"}',
        "",
        "x" * 100_000,
        "the last, without an end",
    ]
    child = await EngineChild.spawn(EngineOptions(), python(f"import sys; sys.stderr.write({chr(10).join(lines)!r})"))
    assert await child.end(WAIT_S) == "exit status 0"
    first, second, *others = records
    assert (first["level"], first["event"], first["step"]) == ("warning", "odd", 7)
    assert first["ts"] != "forged"
    assert second["level"] == "error"
    assert {record["event"] for record in others} == {"engine_stderr"}
    assert others[0]["line"] == "plain words"
    assert others[-1]["line"] == "the last, without an end"
    assert max(len(record["line"]) for record in others) <= log.MAX_VALUE_CHARS + 1


async def test_a_flood_of_output_does_not_block_the_process() -> None:
    child = await EngineChild.spawn(EngineOptions(), python("print(('y' * 999 + '\\n') * 1000, end='')"))
    assert await child.receive(WAIT_S) == []
    assert await child.end(WAIT_S) == "exit status 0"
