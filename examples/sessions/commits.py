"""What durable turns cost: turns a second and their latency, by how many sessions live at once.

    python examples/sessions/commits.py

A turn is two transactions, its beginning and its end, each on disk (fsync) before it is acknowledged; those of sessions
that live at once share transactions.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from espalier.sessions import Completion, Draft, Mark, Sessions
from espalier.sessions.store import Store

TURNS = 2000
TOKENS = 500


async def live(sessions: Sessions, turns: int, latencies: list[float]) -> None:
    """One session; each wait for the disk is one latency."""
    session = await sessions.create("a")
    head, context_len = None, 0
    said = {"role": "assistant", "content": "word " * TOKENS}
    for number in range(turns):
        asked = ({"role": "user", "content": f"question {number} " * 20},)
        draft = Draft(head, head, asked, context_len, tuple(range(TOKENS)), Mark(1, b"x" * 16, 1))
        for step in ("begin", "complete"):
            began = time.perf_counter()
            if step == "begin":
                head = (await sessions.begin("a", session.id, draft)).turn.id
            else:
                turn = await sessions.complete("a", head or "", Completion(said, tuple(range(TOKENS)), "stop"))
                context_len = turn.context_len
            latencies.append(time.perf_counter() - began)


async def measure(folder: Path, num_sessions: int) -> str:
    """One line of the table."""
    store = Store.open(folder)
    sessions = await Sessions.over(store)
    latencies: list[float] = []
    jobs, transactions, began = store.stats.jobs, store.stats.transactions, time.perf_counter()
    await asyncio.gather(*(live(sessions, TURNS // num_sessions, latencies) for _ in range(num_sessions)))
    took, latencies = time.perf_counter() - began, sorted(latencies)
    group = (store.stats.jobs - jobs) / (store.stats.transactions - transactions)
    await sessions.close()
    p50, p99 = latencies[len(latencies) // 2] * 1e3, latencies[len(latencies) * 99 // 100] * 1e3
    return f"{num_sessions:8} {TURNS // num_sessions * num_sessions / took:8.0f} {group:16.1f} {p50:9.2f} {p99:9.2f}"


def fsync_ms(folder: Path) -> float:
    """The median of an fdatasync of a page on this disk."""
    times = []
    descriptor = os.open(folder / "probe", os.O_CREAT | os.O_RDWR)
    for number in range(200):
        os.pwrite(descriptor, bytes(4096), number * 4096)
        began = time.perf_counter()
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - began)
    os.close(descriptor)
    return sorted(times)[100] * 1e3


def main() -> None:
    """See the module."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        print(f"fdatasync of a page: {fsync_ms(folder):.2f} ms; {TURNS} turns of {2 * TOKENS} tokens each")
        print("sessions  turns/s  jobs/transaction  p50 ms    p99 ms")
        for num_sessions in (1, 4, 16, 64, 256):
            print(asyncio.run(measure(folder / str(num_sessions), num_sessions)), flush=True)


if __name__ == "__main__":
    main()
