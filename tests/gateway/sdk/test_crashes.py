"""A process that dies again and again, around any record of its journal and in any tool: nothing twice, no loss."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.gateway.sdk import Agent, Call, Query, Run, ScriptedModel, Session, Tool, Turns, call, tool
from espalier.gateway.sdk.journal import Journal, Record
from espalier.gateway.sdk.scripted_model import Line, ScriptedCall


class Crash(BaseException):
    """The process dies: nothing catches it."""


class Fuse:
    """Counts the moments at which a process could die, and dies at the next of `deaths`."""

    def __init__(self, deaths: list[int]) -> None:
        self._deaths = list(deaths)
        self._left = self._deaths.pop(0) if self._deaths else -1

    def moment(self) -> None:
        if self._left == 0:
            self._left = self._deaths.pop(0) if self._deaths else -1
            raise Crash
        self._left -= 1


class DyingJournal(Journal):
    """Dies before a record is written, or behind it."""

    def __init__(self, path: str | os.PathLike[str], fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    def write(self, record: Record) -> None:
        self._fuse.moment()
        super().write(record)
        self._fuse.moment()


class World:
    """What the tools did, by the keys of their calls."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self.once: Counter[str] = Counter()
        self.keyed: dict[str, str] = {}
        self.looks = 0

    def tools(self) -> list[Tool]:
        @tool(effect="once")
        def pay(amount: int, call: Call) -> str:
            self.once[call.key] += 1
            self._fuse.moment()
            return f"{amount} paid"

        @tool(effect="keyed")
        def store(amount: int, call: Call) -> str:
            self.keyed[call.key] = f"{amount}"
            self._fuse.moment()
            return f"{amount} stored"

        @tool(effect="none")
        async def look(amount: int) -> str:
            self.looks += 1
            return f"{amount} seen"

        return [pay, store, look]


calls = st.builds(
    lambda name, amount: call(name, amount=amount), st.sampled_from(["pay", "store", "look"]), st.integers(0, 2)
)
turns = st.lists(st.lists(calls, min_size=1, max_size=3), min_size=1, max_size=4)


async def run_to_its_end(model: ScriptedModel, world: World, path: Path, fuse: Fuse) -> Run[str]:
    """Start the process until it does not die."""
    agent = Agent(model, tools=world.tools(), limits=[Turns(20)])
    while True:
        session = Session("s", model=model)
        session.journal = DyingJournal(path, fuse)
        with contextlib.suppress(Crash):
            return await agent.run("Go.", session=session, key="k")


@settings(max_examples=40, deadline=None)
@given(turns, st.lists(st.integers(0, 25), max_size=6))
def test_however_often_a_process_dies_its_run_ends_and_nothing_is_done_twice(
    script: list[list[ScriptedCall]], deaths: list[int]
) -> None:
    fuse = Fuse(deaths)
    world = World(fuse)
    lines: list[Line] = [*script, "Done."]
    asked: dict[str, Line] = {}

    def server(query: Query) -> Line:
        return asked.setdefault(query.key, lines[len(asked)])

    model = ScriptedModel(server)
    with TemporaryDirectory() as folder:
        run = asyncio.run(run_to_its_end(model, world, Path(folder) / "journal", fuse))
    assert run.answer == "Done."
    assert run.turns == len(lines)
    made = Counter(one.name for turn in script for one in turn)
    results = [message.content or "" for message in run.messages if message.role == "tool"]
    assert len(results) == sum(made.values())
    unknown = sum("nobody knows whether it was done" in text for text in results)
    # A payment was made once, or the model was told that nobody knows; what is keyed was done for every call.
    assert all(times == 1 for times in world.once.values())
    assert sum(text.endswith("paid") for text in results) == made["pay"] - unknown <= len(world.once) <= made["pay"]
    assert len(world.keyed) == made["store"] == sum(text.endswith("stored") for text in results)
    assert world.looks >= made["look"] == sum(text.endswith("seen") for text in results)
