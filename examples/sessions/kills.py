"""Kill a busy store, or a busy server, with SIGKILL, again and again, and look for what it had acknowledged.

    python examples/sessions/kills.py --kills 2000
    python examples/sessions/kills.py --kills 2000 --server

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
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import httpx
from busy_store import TENANT, answer, question
from nursery import Nursery
from phase import Phase, PhaseFile
from report import Report

from espalier.sessions import Sessions

HERE = Path(__file__).parent
NUM_SESSIONS = 8
TURNS_OF_A_SESSION = 60
"""Then another one takes its place, so that a kill's check stays short."""
SERVED = "I was told."


class Killer:
    """Owns a nursery of processes and what clients know of their sessions."""

    script, tenant = HERE / "busy_store.py", TENANT

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, phase = folder / "sessions", folder / "phase"
        self._phase = PhaseFile(phase)
        self._random = random.Random(seed)
        self._names = 0
        self._acknowledged: dict[str, int] = {}
        self.report = Report()
        self._nursery = Nursery(self.script, str(self._folder), str(phase))

    def close(self) -> None:
        """End the nursery."""
        self._nursery.close()

    def kill_once(self) -> None:
        """Let a process work, kill it, and check what it left."""
        self._replenish()
        self._phase.set(Phase.IDLE)
        pid = self._nursery.bear(json.dumps(self._acknowledged))
        self._works()
        self._wait()
        os.kill(pid, signal.SIGKILL)
        while not (line := self._nursery.line()).startswith("dead "):
            self._take(line)
        if line != f"dead {-signal.SIGKILL}":
            raise RuntimeError(f"the process that was to be killed ended by itself: {line}")
        self.report.kills += 1
        self.report.phases[self._phase.get().name.lower()] += 1
        asyncio.run(self._check())

    def question(self, name: str, number: int) -> str:
        """What a turn asks."""
        return question(name, number)

    def answer(self, name: str, number: int) -> str:
        """What it is told."""
        return answer(name, number)

    def _replenish(self) -> None:
        while len(self._acknowledged) < NUM_SESSIONS:
            self._acknowledged[f"s{self._names}"] = 0
            self._names += 1

    def _works(self) -> None:
        """Return when the process works: with its first answer."""
        self._take(self._nursery.line())

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
        self._acknowledge(name, int(number))

    def _acknowledge(self, name: str, number: int) -> None:
        self._acknowledged[name] = number + 1
        self.report.acknowledged += 1

    async def _check(self) -> None:
        expected = dict(self._acknowledged)
        sessions = await Sessions.open(self._folder)
        for name, number in expected.items():
            session = await sessions.named(self.tenant, name)
            path = await sessions.path(self.tenant, session.id)
            self.report.judge(
                path, number, lambda at, name=name: self.question(name, at), lambda at, name=name: self.answer(name, at)
            )
            if number >= TURNS_OF_A_SESSION:
                del self._acknowledged[name]
                await sessions.delete(self.tenant, session.id)
        await sessions.close()


class ServerKiller(Killer):
    """The same with a server, and clients that speak HTTP and live through the kills."""

    script, tenant = HERE / "busy_server.py", ""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        port = int(self._nursery.line().removeprefix("port "))
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._lock, self._worked, self._is_over = threading.Condition(), False, False
        self._clients = [threading.Thread(target=self._client, args=(at,)) for at in range(NUM_SESSIONS)]
        for client in self._clients:
            client.start()

    def close(self) -> None:
        """End the clients and the nursery."""
        self._is_over = True
        for client in self._clients:
            client.join()
        super().close()

    def answer(self, name: str, number: int) -> str:
        """What it is told."""
        return SERVED

    def _works(self) -> None:
        with self._lock:
            self._worked = False
            self._lock.wait_for(lambda: self._worked, timeout=60)

    def _replenish(self) -> None:
        with self._lock:
            super()._replenish()

    def _client(self, at: int) -> None:
        """One session after the other, turn after turn; what got no answer is sent again, by the same key."""
        with httpx.Client(timeout=5.0) as http:
            while not self._is_over:
                with self._lock:
                    names = list(self._acknowledged.items())
                if at >= len(names):
                    time.sleep(0.01)
                    continue
                name, number = names[at]
                if self._sent(http, name, number):
                    with self._lock:
                        if name in self._acknowledged:
                            self._acknowledge(name, number)
                            self._worked = True
                            self._lock.notify_all()

    def _sent(self, http: httpx.Client, name: str, number: int) -> bool:
        """Whether the answer came whole."""
        body = {
            "messages": [{"role": "user", "content": self.question(name, number)}],
            "session_id": name,
            "session_mode": "append",
            "stream": number % 2 == 1,
        }
        try:
            answered = http.post(self._url, json=body, headers={"Idempotency-Key": f"{name}:{number}"})
        except httpx.HTTPError:
            return False
        if answered.status_code in (409, 503):
            return False  # busy with the turn that the last process left, or just starting
        if answered.status_code != 200:
            raise RuntimeError(answered.text)
        return b"[DONE]" in answered.content if body["stream"] else answered.json()["choices"][0]["message"] != {}


def run(killer: Killer, kills: int, *, every: int = 0) -> Report:
    """Kill so many times; says every `every` kills how it goes."""
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
    parser.add_argument("--server", action="store_true", help="the whole gateway over HTTP, not the store alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kind = ServerKiller if arguments.server else Killer
        report = run(kind(Path(folder), arguments.seed), arguments.kills, every=100)
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
