"""The examples for agent builders against `espalier serve` and its own model; what that says is not judged here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from espalier.gateway.local_server import local_server
from espalier.kernels.build import cache_folder

FOLDER = Path(__file__).parents[2] / "examples" / "agents"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the bundled model that keeps what it stores in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_CACHE_DIR", str(cache_folder()))  # what was compiled is not compiled again
        patch.setenv("ESPALIER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        with local_server() as url:
            yield url


def told(name: str, *words: str, url: str, folder: Path) -> list[str]:
    """What an example prints."""
    command = [sys.executable, "-P", "-W", "error", str(FOLDER / name), *words]
    environment = {**os.environ, "ESPALIER_URL": url}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_agent_with_tools_calls_and_answers(url: str, tmp_path: Path) -> None:
    lines = told("tool_calls.py", "What is the weather in Oslo?", url=url, folder=tmp_path)
    assert re.fullmatch(r"\d turns, \d+ tokens, \d+ of them cached", lines[-1])


def test_the_extraction_fits_its_type(url: str, tmp_path: Path) -> None:
    *stops, mood = told("extraction.py", "I go to Oslo for 3 days.", url=url, folder=tmp_path)
    assert 1 <= len(stops) <= 5
    assert mood in {"holiday", "work", "unknown"}


def test_the_openai_client_gets_its_call_and_its_parsed_answer(url: str, tmp_path: Path) -> None:
    call, trip = told("openai_client.py", url, url=url, folder=tmp_path)
    assert call.startswith("GetWeather city=")
    assert re.fullmatch(r"city='.*' days=-?\d+", trip)


def test_the_search_goes_on_from_one_of_its_plans(url: str, tmp_path: Path) -> None:
    plan, *_ = told("plan_search.py", "Plan a day in Oslo.", url=url, folder=tmp_path)
    assert re.match(r"plan [012] of 3, score \d+: \[", plan)


def test_a_run_that_was_killed_books_once(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(FOLDER / "resume.py"), "trip-42", "Book a room in Oslo."]
    environment = {**os.environ, "ESPALIER_URL": url, "DIE_AFTER_BOOKING": "1"}
    killed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -9, killed.stderr
    lines = told("resume.py", "trip-42", "Book a room in Oslo.", url=url, folder=tmp_path)
    assert lines[0] == "a run was not finished: it goes on where it ended"
    assert lines[-1] == "1 rooms booked"
    assert told("resume.py", "trip-42", "Book a room in Oslo.", url=url, folder=tmp_path)[-1] == "1 rooms booked"


def test_the_chat_with_curl_goes_on(url: str, tmp_path: Path) -> None:
    command = ["sh", str(FOLDER / "chat.sh"), "curl-1", url]
    for line in ("My name is Ada.\n", "What is my name?\n"):
        done = subprocess.run(command, input=line, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout) > len("> \n> ")
    turns = httpx.get(f"{url}/v1/sessions/curl-1/turns").json()["data"]
    assert [turn["messages"][0]["content"] for turn in turns] == ["My name is Ada.", "What is my name?"]
