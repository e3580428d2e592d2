"""`espalier bench soak`: a load for minutes, clients killed at random, and what must not happen looked for.

Fails when an answer has an error, when one differs from the same question asked alone, when a KV slot is left held at
the end, or when memory grew. Greedy decoding, so a question has one answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from espalier.gateway.bench.client import Target, ask, models
from espalier.gateway.bench.workload import WORDS

SAMPLE_EVERY_S = 5.0
SETTLE_S = 10.0
MAX_GROWTH = 0.05
"""Memory is flat if the last quarter's median exceeds the second quarter's by less than this share."""

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the load is."""

    users: int
    seconds: float
    kill_rate: float
    questions: int
    answer_tokens: int
    seed: int


@dataclass(slots=True)
class Findings:
    """What was seen; `memory` are bytes of the server's processes over time."""

    answered: int = 0
    killed: int = 0
    different: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    slots_held: float = 0.0
    requests_left: float = 0.0
    preemptions: float = 0.0

    def growth(self) -> float:
        """Share by which memory grew from the second quarter to the last; 0 for too short a run."""
        quarter = len(self.memory) // 4
        if not quarter:
            return 0.0
        return statistics.median(self.memory[-quarter:]) / statistics.median(self.memory[quarter : 2 * quarter]) - 1

    def violations(self) -> list[str]:
        """What must not have happened."""
        found = [f"{count} x {kind}" for kind, count in sorted(self.errors.items())]
        if self.different:
            found.append(f"{self.different} answers differ from the same question asked alone")
        if self.slots_held:
            found.append(f"{self.slots_held:.0f} KV slots are held by nobody")
        if self.requests_left:
            found.append(f"{self.requests_left:.0f} requests are left in the engine")
        if self.growth() > MAX_GROWTH:
            found.append(f"memory grew by {self.growth():.1%}")
        if not self.answered:
            found.append("nothing was answered")
        return found


def questions(plan: Plan) -> list[Messages]:
    """Conversations of plain words, some over a shared system prompt."""
    rng = Random(plan.seed)
    shared = " ".join(rng.choices(WORDS, k=120))
    asked: list[Messages] = []
    for number in range(plan.questions):
        text = " ".join(rng.choices(WORDS, k=rng.randint(3, 60)))
        system = [{"role": "system", "content": shared}] if number % 2 else []
        asked.append([*system, {"role": "user", "content": text}])
    return asked


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children, by /proc; 0 where there is none."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    except OSError:
        return 0
    return total + sum(memory_bytes(int(child)) for child in children)


async def gauges(client: httpx.AsyncClient) -> dict[str, float]:
    """The server's metrics that have no labels, by name."""
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


class Soak:
    """One run against one server."""

    def __init__(self, client: httpx.AsyncClient, target: Target, plan: Plan, pid: int | None) -> None:
        self._client, self._target, self._plan, self._pid = client, target, plan, pid
        self._questions = questions(plan)
        self._alone: list[str] = []
        self.findings = Findings()

    async def ask_alone(self) -> None:
        """Ask every question with nobody else there."""
        for messages in self._questions:
            sample = await ask(self._client, self._target, messages, self._plan.answer_tokens)
            if sample.error is not None:
                self.findings.errors[f"alone: {sample.error}"] += 1
            self._alone.append(sample.text)

    async def load(self, progress: Progress) -> None:
        """All users at once until the time is over, watched; then a pause in which everything must end."""
        until = time.monotonic() + self._plan.seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(until, progress))
            for user in range(self._plan.users):
                group.create_task(self._user(Random(f"{self._plan.seed}:{user}"), until))
        await self._settle()

    async def _user(self, rng: Random, until: float) -> None:
        while time.monotonic() < until:
            number = rng.randrange(len(self._questions))
            question = ask(self._client, self._target, self._questions[number], self._plan.answer_tokens)
            if rng.random() < self._plan.kill_rate:
                await self._kill(question, rng.expovariate(2.0))
                continue
            sample = await question
            if sample.error is not None:
                self.findings.errors[sample.error] += 1
                continue
            self.findings.answered += 1
            self.findings.different += sample.text != self._alone[number]

    async def _kill(self, question: object, after_s: float) -> None:
        task = asyncio.ensure_future(question)  # type: ignore[call-overload]
        await asyncio.wait({task}, timeout=after_s)
        self.findings.killed += not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, until: float, progress: Progress) -> None:
        bar = progress.add_task("soak", total=self._plan.seconds)
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(SAMPLE_EVERY_S, left))
            if self._pid is not None:
                self.findings.memory.append(memory_bytes(self._pid))
            progress.update(bar, completed=self._plan.seconds - max(0.0, until - time.monotonic()))

    async def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while True:
            seen = await gauges(self._client)
            self.findings.requests_left = seen["espalier_requests_running"] + seen["espalier_requests_waiting"]
            # What the prefix tree keeps, and would give up, is no leak.
            self.findings.slots_held = seen["espalier_kv_slots_used"] - seen["espalier_kv_slots_cached"]
            self.findings.preemptions = seen["espalier_preemptions_total"]
            if not (self.findings.requests_left or self.findings.slots_held) or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default %(default)s)")
    parser.add_argument("--api-key", help="its key")
    parser.add_argument("--users", type=int, default=100, help="clients at once (default 100)")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default 5)")
    parser.add_argument("--kill-rate", type=float, default=0.2, help="share of requests whose client goes away")
    parser.add_argument("--questions", type=int, default=48, help="different questions (default 48)")
    parser.add_argument("--answer-tokens", type=int, default=48, help="length of an answer (default 48)")
    parser.add_argument(
        "--pid", type=int, help="process id of the server here: its memory is watched, children included"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Run; 1 if anything happened that must not."""
    plan = Plan(args.users, args.minutes * 60, args.kill_rate, args.questions, args.answer_tokens, args.seed)
    console = Console(stderr=args.json)
    try:
        findings = asyncio.run(_run(args, plan, console))
    except httpx.HTTPError as error:
        console.print(f"[red]{args.url} does not answer ({type(error).__name__})")
        return 1
    violations = findings.violations()
    told = {
        "bench": "soak",
        "users": plan.users,
        "minutes": args.minutes,
        "answered": findings.answered,
        "killed": findings.killed,
        "preemptions": findings.preemptions,
        "memory_mib": [round(size / 2**20) for size in findings.memory],
        "memory_growth": round(findings.growth(), 4),
        "violations": violations,
    }
    if args.json:
        print(json.dumps(told))
    for name, value in told.items():
        console.print(f"{name}: {value}")
    return 1 if violations else 0


async def _run(args: argparse.Namespace, plan: Plan, console: Console) -> Findings:
    # The whole answer length each time: an early end would make the load light.
    extra = {"ignore_eos": True}
    target = Target(url=args.url, model="", api_key=args.api_key)
    async with target.connect() as client:
        name = (await models(client))[0]
        soak = Soak(client, Target(url=args.url, model=name, api_key=args.api_key, extra=extra), plan, args.pid)
        await soak.ask_alone()
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
        ) as progress:
            await soak.load(progress)
        return soak.findings
