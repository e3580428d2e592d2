"""Kill a busy store with SIGKILL, again and again, and look for what it had acknowledged.

    python examples/sessions/kills.py --kills 2000

Three kills of four wait until the process is inside a write, the others come at any time; where it was is read from
what it left behind. After each kill the store is opened again: every acknowledged turn has to be there, once, whole,
and in order, and nothing may be running. Sessions live on through the kills, and clients repeat what got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent))

from busy_store import NUM_SESSIONS, TENANT, answer, question
from phase import Phase, PhaseFile

from espalier.sessions import Sessions, Turn

TURNS_OF_A_SESSION = 60
"""Then another one takes its place, so that a kill's check stays short."""


@dataclass
class Report:
    """What was found."""

    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    half: int = 0
    duplicates: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, half or double."""
        return not (self.lost or self.half or self.duplicates)

    def __str__(self) -> str:
        inside = self.kills - self.phases["idle"]
        return (
            f"{self.kills} kills, {inside} inside a write ({dict(self.phases)}); "
            f"{self.acknowledged} turns acknowledged, {self.lost} lost, {self.half} half turns visible, "
            f"{self.duplicates} duplicates"
        )


class Killer:
    """Owns a nursery of processes and what clients know of their sessions."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._phase_path = folder / "sessions", folder / "phase"
        self._phase = PhaseFile(self._phase_path)
        self._random = random.Random(seed)
        self._names = 0
        self._acknowledged: dict[str, int] = {}
        self.report = Report()
        script = Path(__file__).parent / "busy_store.py"
        self._nursery = subprocess.Popen(
            [sys.executable, str(script), str(self._folder), str(self._phase_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the nursery."""
        self._in.close()
        self._nursery.wait()
        self._out.close()

    def kill_once(self) -> None:
        """Let a process work, kill it, and check what it left."""
        while len(self._acknowledged) < NUM_SESSIONS:
            self._acknowledged[f"s{self._names}"] = 0
            self._names += 1
        self._phase.set(Phase.IDLE)
        self._in.write(json.dumps(self._acknowledged) + "\n")
        self._in.flush()
        pid = int(self._line().removeprefix("pid "))
        # The first answer says that it works.
        self._take(self._line())
        self._wait()
        os.kill(pid, signal.SIGKILL)
        while (line := self._line()) != "dead":
            self._take(line)
        self.report.kills += 1
        self.report.phases[self._phase.get().name.lower()] += 1
        asyncio.run(self._check())

    def _wait(self) -> None:
        time.sleep(self._random.random() * 0.02)
        deadline = time.monotonic() + 0.5
        if self._random.random() < 0.75:
            while self._phase.get() == Phase.IDLE and time.monotonic() < deadline:
                pass

    def _take(self, line: str) -> None:
        if not line.startswith("ack "):
            raise RuntimeError(f"the process that was to be killed says: {line}")
        _, name, number = line.split(" ", 2)
        self._acknowledged[name] = int(number) + 1
        self.report.acknowledged += 1

    async def _check(self) -> None:
        sessions = await Sessions.open(self._folder)
        for name, number in list(self._acknowledged.items()):
            session = await sessions.named(TENANT, name)
            path = await sessions.path(TENANT, session.id)
            self._judge(name, number, path.turns, path.session.running)
            if number >= TURNS_OF_A_SESSION:
                del self._acknowledged[name]
                await sessions.delete(TENANT, session.id)
        await sessions.close()

    def _judge(self, name: str, number: int, turns: tuple[Turn, ...], running: str | None) -> None:
        asked = [turn.messages[0]["content"] for turn in turns]
        self.report.duplicates += len(asked) - len(set(map(str, asked)))
        self.report.lost += sum(question(name, at) not in asked for at in range(number))
        self.report.half += running is not None
        for at, turn in enumerate(turns):
            told = {"role": "assistant", "content": answer(name, at)}
            whole = (turn.state, asked[at], turn.answer, turn.output_ids) == (
                "complete",
                question(name, at),
                told,
                (at,),
            )
            self.report.half += not whole

    def _line(self) -> str:
        line = self._out.readline().strip()
        if not line:
            raise RuntimeError("the nursery ended")
        return line

    @property
    def _in(self) -> IO[str]:
        assert self._nursery.stdin is not None
        return self._nursery.stdin

    @property
    def _out(self) -> IO[str]:
        assert self._nursery.stdout is not None
        return self._nursery.stdout


def run(folder: Path, kills: int, seed: int, *, every: int = 0) -> Report:
    """Kill so many times; says every `every` kills how it goes."""
    killer = Killer(folder, seed)
    try:
        for number in range(1, kills + 1):
            killer.kill_once()
            if every and number % every == 0:
                print(killer.report, flush=True)
    finally:
        killer.close()
    return killer.report


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), arguments.kills, arguments.seed, every=100)
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
