"""The command line: what each word leads to, and how errors leave it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from espalier.gateway import cli
from espalier.gateway.auth import KeyRing


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("espalier ")


def test_the_version_needs_neither_torch_nor_a_server() -> None:
    code = "import sys\nfrom espalier.gateway import cli\ncli.version()\nprint({'torch', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "words", [["serve"], ["chat"], ["keys"], ["bench", "serve"], ["bench", "soak"], ["grammar", "check"]]
)
def test_every_command_has_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--help"])
    assert caught.value.code == 0
    assert " ".join(words) in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["bench"], ["sing"]])
def test_no_command_or_an_unknown_one_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: espalier" in capsys.readouterr().err


def test_a_key_and_its_line_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "ada"]) == 0
    printed = capsys.readouterr()
    path = tmp_path / "keys"
    path.write_text(printed.out, encoding="utf-8")
    assert KeyRing.load(path).tenant(printed.err.split()[-1]) == "ada"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "argument --port: expected at most 65535, got '70000'"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached by other machines, and no API keys are set"),
        (["--host", "203.0.113.1", "--api-keys-file", "KEYS"], "--host 203.0.113.1 is no address of this machine"),
    ],
)
def test_serve_refuses_with_a_remedy(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ada {'0' * 64}\n", encoding="utf-8")
    assert cli.main(["serve", *(str(keys) if word == "KEYS" else word for word in words)]) == 2
    assert capsys.readouterr().err.startswith(f"espalier: error: {message}")


def test_serve_says_when_the_port_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"port {port} on 127.0.0.1 is in use; choose another with --port" in capsys.readouterr().err


def test_a_command_without_its_packages_says_what_to_install() -> None:
    lacking = "import sys\nsys.modules.update(uvicorn=None, starlette=None)\n"
    code = lacking + "from espalier.gateway import cli\ncli.main(['serve'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'espalier[server]'" in done.stderr
