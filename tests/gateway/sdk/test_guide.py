"""The guide's blocks, run from its first to its last as they stand, against a server that plays by rules."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.gateway.live_server import served
from tests.gateway.sdk.wire_server import Chunks, WireServer, called, said

GUIDE = Path(__file__).parents[3] / "gateway" / "sdk" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


def rule(body: dict[str, Any]) -> Chunks:
    """Calls for a question, words for a result, JSON for a schema."""
    last = body["messages"][-1]
    if "response_format" in body:
        return said('{"city":"Oslo","days":3}')
    if last["role"] == "tool":
        return said("That is all: ", last["content"])
    if "room" in last["content"]:
        return called(("book_room", '{"city":"Oslo"}'))
    return called(("get_weather", '{"city":"Oslo"}')) if "weather" in last["content"] else said("Well.")


@pytest.mark.anyio
async def test_the_blocks_of_the_guide_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    server = WireServer(rule)
    with served(server.app) as url:
        monkeypatch.setenv("ESPALIER_URL", url)
        for block in BLOCKS:
            code = compile(block, str(GUIDE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            assert isinstance(code, CodeType)
            if inspect.iscoroutine(running := eval(code, names)):
                await running
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith('That is all: {"degrees":4,"rain":true} 2 30')
    assert told[1] == "Oslo 4"
    assert "[get_weather: done]" in told[2]
    assert len(BLOCKS) == 6
    assert len(server.sessions) == 4
