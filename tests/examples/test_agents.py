"""The examples for agent builders, each run as a program against a server that plays a script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.gateway.live_server import served
from tests.gateway.sdk.wire_server import Chunks, WireServer, called, compact, said

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "agents"
EXAMPLES = sorted(FOLDER.iterdir())
MAX_LINES = 40


Done: TypeAlias = subprocess.CompletedProcess[str]


def run(name: str, *words: str, url: str, folder: Path, stdin: str = "", **more: str) -> Done:
    """Run an example; `more` is set in its environment."""
    command = ["sh"] if name.endswith(".sh") else [sys.executable, "-P", "-W", "error"]
    environment = {**os.environ, "ESPALIER_URL": url, **more}
    return subprocess.run(
        [*command, str(FOLDER / name), *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )


def checked(done: Done) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.is_file()], ids=lambda path: path.name)
def test_an_example_is_read_at_a_glance(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_agent_with_tools_mends_a_call_that_failed(tmp_path: Path) -> None:
    script = [
        called(("get_weather", '{"city":"Olso"}')),
        called(("get_weather", '{"city":"Oslo","unit":"fahrenheit"}')),
        said("It is ", "39.2 degrees."),
    ]
    with served(WireServer(script).app) as url:
        told = checked(run("tool_calls.py", "What is the weather in Oslo?", url=url, folder=tmp_path))
    assert told == [
        """[get_weather {"city":"Olso"}: error: no weather for 'Olso'; there is some for Oslo, Rome, Lima]""",
        '[get_weather {"city":"Oslo","unit":"fahrenheit"}: 39.2 degrees fahrenheit]',
        "It is 39.2 degrees.",
        "3 turns, 45 tokens, 12 of them cached",
    ]


def test_the_extraction_gives_typed_values(tmp_path: Path) -> None:
    answer = '{"stops":[{"city":"Oslo","days":3},{"city":"Rome","days":2}],"mood":"holiday"}'
    with served(WireServer([said(answer)]).app) as url:
        told = checked(run("extraction.py", "To Oslo, then to Rome.", url=url, folder=tmp_path))
    assert told == ["3 days in Oslo", "2 days in Rome", "holiday"]


def test_the_search_goes_on_from_the_best_plan(tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Chunks:
        if "response_format" in body:
            return said(compact({"steps": ["walk"], "score": (7, 9, 4)[body["seed"]]}))
        return said(body["session_id"])

    server = WireServer(script)
    with served(server.app) as url:
        told = checked(run("plan_search.py", "Plan a day.", url=url, folder=tmp_path))
    best = next(body["session_id"] for body in server.bodies if body.get("response_format") and body["seed"] == 1)
    assert told == ["plan 1 of 3, score 9: ['walk']", best]
    turns = {name: len(turns) for name, turns in server.sessions.items()}
    assert turns.pop(best) == 3
    assert sorted(turns.values()) == [1, 2, 2]


def test_a_run_that_was_killed_goes_on_and_books_once(tmp_path: Path) -> None:
    server = WireServer([called(("book_room", '{"city":"Oslo"}')), said("I could not make sure.")])
    with served(server.app) as url:
        words = ("trip-42", "Book a room in Oslo.")
        killed = run("resume.py", *words, url=url, folder=tmp_path, DIE_AFTER_BOOKING="1")
        assert killed.returncode == -9
        told = checked(run("resume.py", *words, url=url, folder=tmp_path))
    assert told == ["a run was not finished: it goes on where it ended", "I could not make sure.", "1 rooms booked"]
    assert server.bodies[1]["messages"][0]["content"].startswith("error: the process ended while this ran")


def test_the_chat_with_curl_keeps_its_conversation(tmp_path: Path) -> None:
    class Whole(WireServer):
        """Answers whole, as curl asks."""

        async def chat(self, request: Request) -> Response:
            body = await request.json()
            self.bodies.append(body)
            message = {"content": f'I said: "{body["messages"][0]["content"]}"\nagain', "role": "assistant"}
            return Response(compact({"choices": [{"message": message}]}))

    server = Whole([])
    with served(server.app) as url:
        told = checked(run("chat.sh", "trip-42", url, url=url, folder=tmp_path, stdin='He\\said "hi"\nÆ\n'))
    assert [body["messages"][0]["content"] for body in server.bodies] == ['He\\said "hi"', "Æ"]
    assert {body["session_id"] for body in server.bodies} == {"trip-42"}
    assert told == ['> I said: "He\\said "hi""', "again", '> I said: "Æ"', "again", "> "]


@pytest.mark.slow
def test_what_agent_builders_write_passes_strict_checks() -> None:
    # OpenAI's agents package is not everywhere; its example is checked where the package is.
    ours = [str(path) for path in EXAMPLES if path.suffix == ".py" and path.name != "openai_agents.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *ours], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout
