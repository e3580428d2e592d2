"""A nursery of processes that open the store and let sessions live until they are killed.

    python examples/sessions/busy_store.py FOLDER PHASE_FILE

Reads a line of JSON for each process: how many turns of each session are acknowledged. It sends the turn after those
first, by the idempotency key that it had before, as a client does that got no answer. Tells `ack SESSION NUMBER` once a
turn's completion has been awaited.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import nursery
from phase import PhaseFile, announcing

from espalier.sessions import Completion, Draft, Idempotency, Sessions
from espalier.sessions.store import Store

TENANT = "tenant"


def question(name: str, number: int) -> str:
    """What turn `number` of a session asks; long enough for several pages."""
    return f"{name} asks {number} " * 60


def answer(name: str, number: int) -> str:
    """What the scripted model says to it."""
    return f"{name} is told {number} " * 20


async def live(sessions: Sessions, name: str, number: int) -> None:
    """Turn after turn of one session, from `number` on, for ever."""
    session = await sessions.named(TENANT, name)
    while True:
        path = await sessions.path(TENANT, session.id)
        draft = Draft(
            path.session.head,
            path.session.head,
            ({"role": "user", "content": question(name, number)},),
            prompt_ids=(number,),
            idempotency=Idempotency(f"{name}:{number}", str(number).encode()),
        )
        begun = await sessions.begin(TENANT, session.id, draft)
        if not begun.is_replay:
            said = {"role": "assistant", "content": answer(name, number)}
            await sessions.complete(TENANT, begun.turn.id, Completion(said, (number,), "stop", b"whole" * 50))
        nursery.tell(f"ack {name} {number}")
        number += 1


async def busy(folder: Path, phase: PhaseFile, acknowledged: dict[str, int]) -> None:
    """All sessions at once."""
    sessions = await Sessions.over(Store.open(folder, connect=announcing(phase)))
    await asyncio.gather(*(live(sessions, name, number) for name, number in acknowledged.items()))


def main() -> None:
    """See the module."""
    folder, phase = Path(sys.argv[1]), PhaseFile(Path(sys.argv[2]))
    nursery.run(lambda line: asyncio.run(busy(folder, phase, json.loads(line))))


if __name__ == "__main__":
    main()
