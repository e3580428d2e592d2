"""`espalier serve`: the one place where options, engine, application and socket meet."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from espalier.engine.checkpoint import locate
from espalier.engine.messages import FitRow
from espalier.engine.options import BUNDLED_MODEL, EngineOptions
from espalier.gateway import address, log, server, settings
from espalier.gateway.app import create_app
from espalier.gateway.auth import KeyRing
from espalier.gateway.check_process import ProcessChecker
from espalier.gateway.options import GatewayOptions
from espalier.gateway.replica import Replica
from espalier.gateway.session_upkeep import kept_sessions

TABLES: dict[str, type] = {"engine": EngineOptions, "gateway": GatewayOptions}
EPILOG = "A value comes from its flag, else the environment, else the TOML file, else the default."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, --config, and a flag for every other option of engine and gateway."""
    parser.epilog = EPILOG
    parser.add_argument("model", nargs="?", metavar="MODEL", help=_model_help())
    settings.add_config_argument(parser)
    settings.add_arguments(parser, GatewayOptions, title="the HTTP server")
    settings.add_arguments(parser, EngineOptions, title="the engine", skip=("model",))


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; 0 after an orderly end. Raises SettingError, EngineError if the model can't be served."""
    config = settings.read_config(arguments.config, os.environ, TABLES)
    engine = settings.resolve(EngineOptions, "engine", arguments, os.environ, config)
    gateway = settings.resolve(GatewayOptions, "gateway", arguments, os.environ, config)
    hand_down_data_dir(gateway, os.environ)
    asyncio.run(_serve(engine, gateway, Console()))
    return 0


def hand_down_data_dir(options: GatewayOptions, environment: MutableMapping[str, str]) -> None:
    """Tell the engine's process, which stores there too, of a folder that came by flag or file; it may move about."""
    if options.data_dir is not None:
        environment["ESPALIER_DATA_DIR"] = str(options.data_dir.resolve())


async def _serve(engine: EngineOptions, gateway: GatewayOptions, console: Console) -> None:
    keys = KeyRing.load(gateway.api_keys_file)
    address.check_keys(gateway.host, has_keys=bool(keys.keys))
    listener = address.listen(gateway.host, gateway.port)
    # On a terminal the table below says what the records of a start say.
    log.configure("warning" if console.is_terminal else gateway.log_level)
    replica, checker = Replica(engine), ProcessChecker()
    try:
        async with kept_sessions(gateway, replica) as sessions:
            with console.status(f"loading {engine.model}"):
                folder = await asyncio.to_thread(locate, engine.model, engine.revision)
                await checker.start()
                ready = await replica.start()
                model = gateway.served_model_name or model_name(engine.model)
                app = create_app(
                    replica, folder=folder, model=model, options=gateway, keys=keys, checker=checker, sessions=sessions
                )
            log.configure(gateway.log_level)
            console.print(fit_table(model, ready.fit))
            console.print(greeting(address.url_of(listener), model), highlight=False, soft_wrap=True)
            await server.serve(app, replica, listener, drain_timeout_s=gateway.drain_timeout_s)
    finally:
        listener.close()
        await checker.close()
        await replica.drain(0)


def model_name(model: str) -> str:
    """What clients call a model that was given no name: the last part of a path, so that no folder is told to them."""
    if model == BUNDLED_MODEL:
        return "espalier"
    return Path(model).resolve().name if Path(model).expanduser().is_dir() else model


def fit_table(model: str, rows: Sequence[FitRow]) -> Table:
    """What fits, as the engine said it."""
    table = Table(title=f"{model} fits", title_justify="left", show_header=False)
    for row in rows:
        table.add_row(row.name, row.value)
    return table


def greeting(url: str, model: str) -> str:
    """Where the server answers, and a request to try."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}]})
    example = f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"
    return f"{model} answers at {url} (Ctrl-C ends). Try:\n{example}"


def _model_help() -> str:
    model = settings.settings_of(EngineOptions)[0]
    return f"{model.help} (default {model.default}; ${model.environment})"
