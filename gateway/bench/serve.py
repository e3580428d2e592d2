"""`espalier bench serve`: a load on any OpenAI-compatible server, measured from outside."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espalier.gateway.bench import report, workload
from espalier.gateway.bench.client import PATHS, Target, ask, count_prompt, models
from espalier.gateway.bench.load import run_load
from espalier.gateway.bench.plot import svg
from espalier.gateway.bench.prices import PRICES_AS_OF, PRICES_PER_HOUR
from espalier.gateway.bench.sample import Level, Load, Objectives, Sample, level_of
from espalier.gateway.bench.workload import Lengths, Workload

CALIBRATION_WORDS = 200
TABLE_WIDTH = 150
# A conversation for each user twice, so that users don't all begin at once, and enough for a quantile.
CONVERSATIONS_PER_USER, LEAST_CONVERSATIONS = 2, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, the load, the conversations, and what is reported."""
    add_target_arguments(parser)
    load = parser.add_argument_group("the load")
    load.add_argument("--users", type=_numbers(int), metavar="N,...", help="closed loop (default 1,10,50,100)")
    load.add_argument(
        "--rate", type=_numbers(float), metavar="X,...", help="open loop: conversations a second, Poisson"
    )
    load.add_argument("--conversations", type=int, help="of each level (default 2 for each user, at least 8)")
    load.add_argument("--warmup", type=int, default=2, help="requests before, not measured (default 2)")
    talk = parser.add_argument_group("the conversations; lengths in tokens: N, or LOW:HIGH for log-uniform")
    talk.add_argument("--turns", type=int, default=4, help="turns of a conversation (default 4)")
    talk.add_argument(
        "--system-tokens", type=int, default=1000, help="length of the shared system prompt (default 1000)"
    )
    talk.add_argument("--prompt-tokens", type=_lengths, default=Lengths(50, 50), help="each user message (default 50)")
    talk.add_argument("--answer-tokens", type=_lengths, default=Lengths(64, 64), help="longest answer (default 64)")
    talk.add_argument("--seed", type=int, default=0, help="of texts, lengths and arrivals (default 0)")
    told = parser.add_argument_group("the report")
    told.add_argument("--slo-ttft", type=float, metavar="S", help="goodput: time to first token, seconds")
    told.add_argument("--slo-itl", type=float, metavar="S", help="goodput: mean time of each further token, seconds")
    prices = ", ".join(f"{name} {price:.2f}" for name, price in PRICES_PER_HOUR.items())
    told.add_argument("--gpu", choices=PRICES_PER_HOUR, help=f"price of an hour as of {PRICES_AS_OF}, $: {prices}")
    told.add_argument("--price-per-hour", type=float, metavar="X", help="dollars an hour, instead of --gpu")
    told.add_argument("--json", action="store_true", help="one line of JSON on stdout, the table on stderr")
    told.add_argument("--plot", type=Path, metavar="FILE.svg", help="also draw it")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which server is asked and how."""
    group = parser.add_argument_group("the server")
    group.add_argument("--url", default="http://127.0.0.1:8000", help="default http://127.0.0.1:8000")
    group.add_argument("--model", help="default the server's first")
    group.add_argument("--api-key", default=os.environ.get("ESPALIER_API_KEY"), help="default $ESPALIER_API_KEY")
    group.add_argument("--api", choices=PATHS, default="chat", help="which API (default chat)")
    group.add_argument(
        "--ignore-eos", action="store_true", help="answers go on to their longest (not every server can)"
    )
    group.add_argument("--body", type=_object, default={}, metavar="JSON", help="more fields of every request")
    group.add_argument("--timeout", type=float, default=600.0, metavar="S", help="of a request (default 600)")


def run(arguments: argparse.Namespace) -> int:
    """Measure; 1 if a request failed or the server can't be reached."""
    try:
        levels, about = asyncio.run(_measure(arguments, Console(stderr=True)))
    except httpx.HTTPError as error:
        print(f"espalier bench serve: error: {arguments.url}: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    title = f"{about['model']} at {arguments.url}"
    _console(stderr=arguments.json).print(report.table(levels, title))
    if arguments.json:
        print(report.line(levels, about))
    if arguments.plot:
        arguments.plot.write_text(svg(report.panels(levels), title), encoding="utf-8")
    return 1 if any(level.errors for level in levels) else 0


def _console(*, stderr: bool) -> Console:
    """A terminal as wide as it is; a file or a pipe as wide as the table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=TABLE_WIDTH)


async def target_of(arguments: argparse.Namespace) -> Target:
    """The server that the arguments name. Raises httpx.HTTPError if it doesn't answer."""
    extra: dict[str, Any] = {**({"ignore_eos": True} if arguments.ignore_eos else {}), **arguments.body}
    target = Target(
        url=arguments.url.removesuffix("/").removesuffix("/v1"),
        model=arguments.model or "",
        api=arguments.api,
        api_key=arguments.api_key,
        extra=extra,
        timeout_s=arguments.timeout,
    )
    if target.model:
        return target
    async with target.connect() as client:
        return dataclasses.replace(target, model=(await models(client))[0])


async def calibrate(target: Target) -> float:
    """Words for each token of the server's tokenizer, by asking it twice; a guess if it does not count."""
    async with target.connect() as client:
        text = " ".join((workload.WORDS * 2)[:CALIBRATION_WORDS])
        long, short = await count_prompt(client, target, text), await count_prompt(client, target, "the")
    return (CALIBRATION_WORDS - 1) / (long - short) if long and short and long > short else Workload().words_per_token


async def _measure(arguments: argparse.Namespace, console: Console) -> tuple[list[Level], dict[str, object]]:
    target = await target_of(arguments)
    shape = Workload(
        turns=arguments.turns,
        system_tokens=arguments.system_tokens,
        prompt_tokens=arguments.prompt_tokens,
        answer_tokens=arguments.answer_tokens,
        words_per_token=await calibrate(target),
        seed=arguments.seed,
    )
    await _warm_up(target, arguments.warmup)
    levels = [
        await _level(number, load, shape, target, arguments, console) for number, load in enumerate(_loads(arguments))
    ]
    about = {"bench": "serve", "url": target.url, "model": target.model, "api": target.api, "extra": target.extra}
    return levels, {**about, "workload": dataclasses.asdict(shape)}


async def _warm_up(target: Target, count: int) -> None:
    async with target.connect() as client:
        for _ in range(count):
            await ask(client, target, [{"role": "user", "content": "the first of many"}], 16)


async def _level(
    number: int, load: Load, shape: Workload, target: Target, arguments: argparse.Namespace, console: Console
) -> Level:
    count = arguments.conversations or max(LEAST_CONVERSATIONS, CONVERSATIONS_PER_USER * (load.users or 0))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(load.name, total=count * shape.turns)

        def tell(sample: Sample) -> None:
            # With a failed turn the rest of its conversation is off.
            progress.advance(task, 1 if sample.error is None else shape.turns - sample.turn)

        samples, duration_s = await run_load(load, shape, target, level=number, count=count, tell=tell)
    objectives = Objectives(first_token_s=arguments.slo_ttft, token_s=arguments.slo_itl)
    price = arguments.price_per_hour
    if price is None and arguments.gpu is not None:
        price = PRICES_PER_HOUR[arguments.gpu]
    return level_of(load, samples, duration_s, objectives, price)


def _loads(arguments: argparse.Namespace) -> list[Load]:
    closed: Sequence[int] = arguments.users or ([] if arguments.rate else [1, 10, 50, 100])
    return [Load(users=users) for users in closed] + [Load(rate=rate) for rate in arguments.rate or []]


def _numbers(kind: type[int] | type[float]) -> Any:
    def numbers(text: str) -> list[float]:
        values = [kind(part) for part in text.split(",")]
        if min(values) <= 0:
            raise ValueError("numbers above 0 are expected")
        return list(values)

    return numbers


def _lengths(text: str) -> Lengths:
    return Lengths.parse(text)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a JSON object is expected")
    return value
