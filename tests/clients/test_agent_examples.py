"""The example with OpenAI's agents package, unchanged, against `espalier serve`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from espalier.gateway.local_server import local_server
from espalier.kernels.build import cache_folder

pytest.importorskip("agents")

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents" / "openai_agents.py"


def test_the_runner_calls_the_tool_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE_DIR", str(cache_folder()))
    monkeypatch.setenv("ESPALIER_DATA_DIR", str(tmp_path))
    with local_server() as url:
        command = [sys.executable, "-P", str(EXAMPLE), url]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    kinds = done.stdout.splitlines()
    assert kinds[:2] == ["tool_call_item", "tool_call_output_item"]
    assert "message_output_item" in kinds
