"""A nursery of processes that are to be killed: each opens the store and lets sessions live until it dies.

    python examples/sessions/busy_store.py FOLDER PHASE_FILE

Reads a line of JSON for each process: how many turns of each session are acknowledged. Forks one, which sends the turn
after those first, by the idempotency key that it had before, as a client does that got no answer. Writes lines:
`pid N`, `ack SESSION NUMBER` once a turn's completion has been awaited, `dead` when the process is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from phase import PhaseFile, announcing

from espalier.sessions import Completion, Draft, Idempotency, Sessions
from espalier.sessions.store import Store

NUM_SESSIONS = 8
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
        tell(f"ack {name} {number}")
        number += 1


async def busy(folder: Path, phase: PhaseFile, acknowledged: dict[str, int]) -> None:
    """All sessions at once."""
    sessions = await Sessions.over(Store.open(folder, connect=announcing(phase)))
    await asyncio.gather(*(live(sessions, name, number) for name, number in acknowledged.items()))


def tell(line: str) -> None:
    """One line in one write: whole, or not at all."""
    os.write(1, f"{line}\n".encode())


def main() -> None:
    """See the module."""
    folder, phase = Path(sys.argv[1]), PhaseFile(Path(sys.argv[2]))
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(busy(folder, phase, json.loads(line)))
            except BaseException as error:  # whatever it is, it has to be told before this process ends
                tell(f"error {error!r}")
            finally:
                os._exit(1)
        tell(f"pid {pid}")
        os.waitpid(pid, 0)
        tell("dead")


if __name__ == "__main__":
    main()
