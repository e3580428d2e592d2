"""The README's examples, run as they stand; only the server's port is another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from espalier.kernels.build import cache_folder

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"
SERVE = "import sys; from espalier.gateway.cli import main; sys.exit(main())"


def run_block(code: str, folder: Path) -> str:
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that runs as `espalier serve` does, on a free port."""
    folder = tmp_path_factory.mktemp("server")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    environment["ESPALIER_DATA_DIR"] = str(folder)
    environment["ESPALIER_CACHE_DIR"] = str(cache_folder())  # what was compiled is not compiled again
    command = [sys.executable, "-P", "-c", SERVE, "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment
    ) as server:
        assert server.stdout is not None
        said: list[str] = []
        for line in server.stdout:
            said.append(line)
            if found := re.search(r"answers at (http://[\d.:]+)", line):
                yield found[1]
                break
        else:
            pytest.fail("the server ended:\n" + "".join(said))
        server.send_signal(signal.SIGTERM)
        server.stdout.read()
    assert server.returncode == 0


def test_the_first_curl_answers(address: str) -> None:
    curl = re.search(rf"curl {ADDRESS}(\S+) .*? -d '(.*?)'", README, flags=re.DOTALL)
    assert curl is not None
    path, body = curl.groups()
    response = httpx.post(address + path, content=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("code", [block for block in PYTHON_BLOCKS if "OpenAI(" in block])
def test_an_example_with_the_openai_client_answers(code: str, address: str, tmp_path: Path) -> None:
    assert ADDRESS in code
    # The model decides whether it calls a tool.
    assert run_block(code.replace(ADDRESS, address), tmp_path) or "tool_calls" in code


def test_the_example_of_an_agent_runs(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in PYTHON_BLOCKS if "run_sync(" in block]
    monkeypatch.setenv("ESPALIER_URL", address)
    assert run_block(code, tmp_path)


def test_the_example_without_a_server_answers(tmp_path: Path) -> None:
    (code,) = [block for block in PYTHON_BLOCKS if "LLM(" in block]
    assert run_block(code, tmp_path)
