"""`espalier chat`: a conversation in the terminal with any OpenAI-compatible server, or with one started for it.

The server keeps nothing: each turn sends the conversation so far, and the line after an answer says how much of it the
server had computed already.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import httpx
from rich.console import Console

from espalier.gateway.dialogue import Dialogue, Options, Turn
from espalier.gateway.local_server import LocalServerError, local_server

DEFAULT_URL = "http://127.0.0.1:8000"
PROMPT = "› "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to talk to and how."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="start a server of this checkpoint for the chat")
    parser.add_argument("--url", help=f"talk to this server (default {DEFAULT_URL} if one answers, else start one)")
    parser.add_argument("--api-key", default=os.environ.get("ESPALIER_API_KEY"), help="default $ESPALIER_API_KEY")
    parser.add_argument("--system", help="the system message")
    parser.add_argument("--temperature", type=float, help="default the server's own; 0 is greedy")
    parser.add_argument("--max-tokens", type=int, help="longest answer")
    parser.add_argument("--seed", type=int, help="makes answers repeatable")


def run(arguments: argparse.Namespace) -> int:
    """Talk until the end of the input, /exit, or Ctrl-C twice."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with contextlib.ExitStack() as stack:
            url = arguments.url or _running_server(arguments)
            if url is None:
                with console.status("starting a server"):
                    url = stack.enter_context(local_server(arguments.model))
            headers = {"authorization": f"Bearer {arguments.api_key}"} if arguments.api_key else {}
            timeout = httpx.Timeout(10, read=None)  # an answer takes its time, and Ctrl-C ends it
            client = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=timeout))
            options = Options(arguments.temperature, arguments.max_tokens, arguments.seed)
            Terminal(Dialogue(client, options, system=arguments.system), console).run(_lines())
    except (LocalServerError, httpx.HTTPError) as error:
        print(f"espalier chat: error: {error}", file=sys.stderr)
        return 1
    return 0


def _running_server(arguments: argparse.Namespace) -> str | None:
    """The default server, unless a model of one's own was asked for or nothing answers there."""
    if arguments.model is not None:
        return None
    try:
        httpx.get(f"{DEFAULT_URL}/live", timeout=2)
    except httpx.HTTPError:
        return None
    return DEFAULT_URL


def _lines() -> Iterator[str | None]:
    """What the user types; None for a Ctrl-C."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() its history and editing
    prompt = PROMPT if sys.stdin.isatty() else ""
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return
        except KeyboardInterrupt:
            yield None


class Terminal:
    """Reads lines, runs commands, shows answers."""

    def __init__(self, dialogue: Dialogue, console: Console) -> None:
        self._dialogue = dialogue
        self._console = console
        self._is_over = False
        self._commands: dict[str, tuple[Callable[[str], None], str]] = {
            "/exit": (self._exit, "leave"),
            "/new": (self._new, "begin a new conversation"),
            "/system": (self._system, "TEXT: set the system message and begin anew"),
            "/save": (self._save, "FILE: write the conversation as JSON"),
            "/help": (self._help, "this list"),
        }

    def run(self, lines: Iterator[str | None]) -> None:
        """Talk until the lines end or the user leaves. Raises httpx.HTTPError if the server can't be reached at all."""
        self._say(f"{self._dialogue.model} · /help for commands, Ctrl-C stops an answer, twice leaves")
        was_interrupted = False
        for line in lines:
            if line is None:
                if was_interrupted:
                    break
                was_interrupted = True
                self._say("\nCtrl-C again, or /exit, leaves")
                continue
            was_interrupted = self._take(line.strip())
            if self._is_over:
                break

    def _take(self, line: str) -> bool:
        """Handle one line; True if the user interrupted the answer."""
        if line.startswith("/"):
            self._command(line)
        elif line:
            return self._answer(line)
        return False

    def _answer(self, line: str) -> bool:
        turn = self._dialogue.ask(line)
        try:
            with contextlib.closing(turn.texts()) as texts:
                for text in texts:
                    self._console.print(printable(text), end="", style="green", markup=False)
        except KeyboardInterrupt:
            self._say("\nstopped")
            return True
        except httpx.HTTPError as error:
            self._console.print(f"\nthe connection broke: {error!r}", style="red", markup=False)
            return False
        self._say(f"\n{summary(turn)}" if turn.error is None else "")
        if turn.error is not None:
            self._console.print(printable(turn.error), style="red", markup=False)
        return False

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name not in self._commands:
            self._say(f"there is no {name}; there are {', '.join(self._commands)}")
            return
        self._commands[name][0](rest.strip())

    def _exit(self, rest: str) -> None:
        self._is_over = True

    def _new(self, rest: str) -> None:
        self._dialogue.begin(self._dialogue.system)
        self._say("a new conversation")

    def _system(self, text: str) -> None:
        self._dialogue.begin(text or None)
        self._say("a new conversation" + (" with this system message" if text else " without a system message"))

    def _save(self, path: str) -> None:
        if not path:
            self._say("/save needs a file")
            return
        try:
            self._dialogue.save(path)
        except OSError as error:
            self._say(f"{path} can't be written: {error.strerror}")
        else:
            self._say(f"{len(self._dialogue.messages)} messages in {path}")

    def _help(self, rest: str) -> None:
        for name, (_, what) in self._commands.items():
            self._say(f"{name:8} {what}")

    def _say(self, text: str) -> None:
        self._console.print(text, style="dim", markup=False)


def printable(text: str) -> str:
    """The text without what would steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def summary(turn: Turn) -> str:
    """One line about a finished answer: its speed, and how much of the prompt was computed already."""
    parts = [f"first token after {turn.first_token_s:.2f} s"]
    if turn.counts is not None:
        counts = turn.counts
        parts = [f"{counts.completion} tokens", *parts, f"prompt {counts.prompt} tokens, {counts.cached} cached"]
        if turn.tokens_per_s is not None:
            parts.insert(1, f"{turn.tokens_per_s:.1f} tok/s")
    if turn.finish_reason == "length":
        parts.append("cut at the longest answer")
    return " · ".join(parts)
