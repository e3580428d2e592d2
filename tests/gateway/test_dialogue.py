"""The terminal chat: turns, commands, errors, over a transport that answers from a script."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from espalier.gateway.answer_stream import AnswerReader, StreamError
from espalier.gateway.dialogue import Dialogue, Options
from espalier.gateway.terminal import Terminal, printable

Handler = Callable[[dict[str, Any]], httpx.Response]


def stream(*texts: str) -> httpx.Response:
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in texts
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 7, "completion_tokens": len(texts), "prompt_tokens_details": {"cached_tokens": 3}}
    events.append({"choices": [], "usage": usage})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return httpx.Response(200, content=body.encode())


def client(answer: Handler) -> httpx.Client:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "m"}]})
        return answer(json.loads(request.content))

    return httpx.Client(transport=httpx.MockTransport(handle), base_url="http://test")


def talk(lines: list[str | None], answer: Handler, **options: Any) -> str:
    out = io.StringIO()
    dialogue = Dialogue(client(answer), Options(**options))
    Terminal(dialogue, Console(file=out, width=100, force_terminal=False)).run(iter(lines))
    return out.getvalue()


def test_a_conversation_is_sent_whole_and_told_with_its_figures() -> None:
    seen: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        seen.append(body)
        return stream("Hel", "lo!")

    told = talk(["Hi", "And you?"], answer, temperature=0.0, max_tokens=9)
    assert [message["content"] for message in seen[1]["messages"]] == ["Hi", "Hello!", "And you?"]
    assert seen[0]["temperature"] == 0
    assert seen[0]["max_tokens"] == 9
    assert "Hello!" in told
    assert "3 cached" in told


def test_commands_do_what_help_says(tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    lines: list[str | None] = [
        "/help",
        "Hi",
        f"/save {file}",
        "/system Be kind.",
        "/new",
        "/fork",
        "/exit",
        "never sent",
    ]
    told = talk(lines, lambda body: stream("Yes."))
    assert "/save" in told
    assert json.loads(file.read_text()) == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    assert "there is no /fork; there are /exit" in told
    assert "never sent" not in told


def test_two_interrupts_leave() -> None:
    told = talk([None, None, "never read"], lambda body: stream("x"))
    assert "Ctrl-C again" in told


def test_an_error_is_shown_and_the_question_can_be_asked_again() -> None:
    answers = iter(
        [
            httpx.Response(400, json={"error": {"message": "too long", "type": "t", "param": None, "code": None}}),
            stream("Now."),
        ]
    )
    seen: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        seen.append(body)
        return next(answers)

    told = talk(["Hi", "Hi"], answer)
    assert "too long" in told
    assert [message["content"] for message in seen[1]["messages"]] == ["Hi"]


def test_what_a_model_says_can_not_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n") == "a\ufffd[2Jb\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_a_stream_reads_the_same_however_it_is_cut(size: int) -> None:
    data = stream("é", "🌳 tree", "x").content
    reader = AnswerReader()
    deltas = [delta for at in range(0, len(data), size) for delta in reader.feed(data[at : at + size])]
    assert "".join(delta.text for delta in deltas) == "é🌳 treex"
    assert [delta.counts.completion for delta in deltas if delta.counts] == [3]


def test_an_error_event_is_raised() -> None:
    with pytest.raises(StreamError, match="broken"):
        AnswerReader().feed(b'data: {"error": {"message": "broken", "type": "t", "param": null, "code": null}}\n\n')
