"""The command line: `espalier COMMAND`. Each command is a module with `add_arguments(parser)` and `run(arguments)`.

Only the module of the command that was asked for is imported, so `espalier --version` loads neither torch nor a server.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata

from espalier.engine.errors import EngineError
from espalier.gateway.setting import SettingError


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its line of help, and its module or the commands below it."""

    help: str
    module: str = ""
    commands: dict[str, Command] = field(default_factory=dict)


COMMANDS = {
    "serve": Command("serve a model over an OpenAI-compatible API", "espalier.gateway.serve"),
    "chat": Command("talk to a model in the terminal", "espalier.gateway.terminal"),
    "keys": Command("make an API key and the line that admits it", "espalier.gateway.key_line"),
    "grammar": Command(
        "look into grammars",
        commands={
            "check": Command("say what of a JSON Schema holds, and show answers", "espalier.gateway.grammar_check")
        },
    ),
    "bench": Command(
        "measure",
        commands={
            "serve": Command("put load on any OpenAI-compatible server", "espalier.gateway.bench.serve"),
            "engine": Command("measure the engine alone, in this process", "espalier.gateway.bench.engine"),
            "agents": Command(
                "replay agents and their tools, with leases and without", "espalier.gateway.bench.agents"
            ),
            "radix": Command("measure the prefix tree beside another", "espalier.gateway.bench.radix"),
            "grammar": Command("measure token masks beside other engines", "espalier.gateway.bench.grammar"),
            "structured": Command("measure constrained beside free decoding", "espalier.gateway.bench.structured"),
            "soak": Command("hold a load for minutes and check that nothing leaks", "espalier.gateway.bench.soak"),
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `espalier` with these arguments, default the process's own; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="espalier", description="Serves language models to agents.")
    parser.add_argument("--version", action="version", version=f"espalier {version()}")
    try:
        _add_commands(parser, COMMANDS, words)
        parsed = parser.parse_args(words)
        return int(import_module(parsed.module).run(parsed))
    except (SettingError, EngineError) as error:
        print(f"espalier: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    except ModuleNotFoundError as error:
        if str(error.name).startswith("espalier"):
            raise
        print(f"espalier: error: {error.name} is missing: pip install 'espalier[server]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("espalier")
    except metadata.PackageNotFoundError:  # a link tree has no metadata
        return "unknown (not installed as a package)"


def _add_commands(parser: argparse.ArgumentParser, commands: dict[str, Command], words: Sequence[str]) -> None:
    """Add all commands by name, and the arguments of the one that `words` asks for."""
    chosen = next((word for word in words if not word.startswith("-")), None)
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.items():
        child = below.add_parser(name, help=command.help, description=_sentence(command.help))
        if command.commands:
            _add_commands(child, command.commands, list(words[words.index(name) + 1 :]) if name == chosen else [])
        elif name == chosen:
            import_module(command.module).add_arguments(child)
            child.set_defaults(module=command.module)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


if __name__ == "__main__":
    sys.exit(main())
