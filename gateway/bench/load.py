"""Loads: users who ask again as soon as they are answered, or conversations that arrive whether or not they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import httpx

from espalier.gateway.bench import workload as work
from espalier.gateway.bench.client import Target, ask
from espalier.gateway.bench.sample import Load, Sample
from espalier.gateway.bench.workload import Conversation, Workload

Tell = Callable[[Sample], None]


async def run_load(
    load: Load, workload: Workload, target: Target, *, level: int, count: int, tell: Tell
) -> tuple[list[Sample], float]:
    """Hold `count` conversations under a load; returns every request, and the seconds it took."""
    samples: list[Sample] = []

    def note(sample: Sample) -> None:
        samples.append(sample)
        tell(sample)

    async with target.connect() as client:
        began = time.perf_counter()
        conversations = (work.conversation(workload, level, number) for number in range(count))
        if load.users is not None:
            await _closed(load.users, conversations, client, target, note)
        else:
            assert load.rate is not None
            await _open(list(work.arrivals(load.rate, count, workload.seed)), conversations, client, target, note)
        return samples, time.perf_counter() - began


async def _closed(
    users: int, conversations: Iterator[Conversation], client: httpx.AsyncClient, target: Target, note: Tell
) -> None:
    async def user() -> None:
        for conversation in conversations:
            await hold(conversation, client, target, note)

    async with asyncio.TaskGroup() as group:
        for _ in range(users):
            group.create_task(user())


async def _open(
    times: list[float], conversations: Iterator[Conversation], client: httpx.AsyncClient, target: Target, note: Tell
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for at, conversation in zip(times, conversations, strict=True):
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            group.create_task(hold(conversation, client, target, note))


async def hold(conversation: Conversation, client: httpx.AsyncClient, target: Target, note: Tell) -> None:
    """One conversation, turn by turn; it ends with the first error."""
    messages = [] if conversation.system is None else [{"role": "system", "content": conversation.system}]
    for number, turn in enumerate(conversation.turns):
        messages.append({"role": "user", "content": turn.text})
        sample = await ask(client, target, messages, turn.max_tokens, turn=number)
        note(sample)
        if sample.error is not None:
            return
        messages.append({"role": "assistant", "content": sample.text})
