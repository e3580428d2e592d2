"""A conversation that the server keeps: `Session("trip-42")`, in this program and in the next.

The server holds the history and its attention state; a run sends only what is new. The journal is this side's memory
of what the tools did, so that a run which a crash ended is gone on with and no tool is done twice.
"""

from __future__ import annotations

import os
import re

from espalier.gateway.sdk.client import Client
from espalier.gateway.sdk.errors import DefinitionError
from espalier.gateway.sdk.journal import Ended, Journal
from espalier.gateway.sdk.model import Model, SessionTurn
from espalier.gateway.sdk.watch import in_own_loop

_ID = re.compile(r"[\w.:@-]{1,128}")


class Session:
    """One conversation. It is made by its first run; `id` is yours to choose, within what your key may see.

    `journal` is the path of a file that makes runs survive a crash of this process: give the same one to the next
    process (one at a time holds it). Without it, a call that was being made when the process died is not repeated
    either, but what finished tools said is lost with them. `model` is whose session it is, by default that of the
    agent that first uses it.
    """

    def __init__(self, id: str, *, journal: str | os.PathLike[str] | None = None, model: Model | None = None) -> None:
        if not _ID.fullmatch(id):
            raise DefinitionError(f"a session's id is 1 to 128 letters, digits and any of _.:@-, not {id!r}")
        self.id = id
        self.journal = Journal(journal)
        self.model: Model | None = model

    async def turns(self) -> tuple[SessionTurn, ...]:
        """What was said, turn by turn. Raises ServerError."""
        return await self._asked().turns(self.id)

    async def tip(self) -> str | None:
        """The id of the latest turn, None where there is none: where `rollback` may come back to.

        Raises ServerError.
        """
        turns = await self._asked().turns(self.id, last=1)
        return turns[-1].id if turns else None

    async def fork(self, *, at: str | None = None, journal: str | os.PathLike[str] | None = None) -> Session:
        """Another session that shares the turns up to `at` (default all); nothing is copied or computed again.

        Raises ServerError.
        """
        model = self._asked()
        return Session(await model.fork(self.id, at), journal=journal, model=model)

    async def rollback(self, to: str | None) -> None:
        """Forget the turns after `to`, all of them for None, and a run that was not finished. Raises ServerError."""
        await self._asked().rollback(self.id, to)
        self.abandon()

    def fork_sync(self, *, at: str | None = None, journal: str | os.PathLike[str] | None = None) -> Session:
        """`fork` for a program without an event loop."""
        return in_own_loop(self.fork(at=at, journal=journal))

    def rollback_sync(self, to: str | None) -> None:
        """`rollback` for a program without an event loop."""
        in_own_loop(self.rollback(to))

    def tip_sync(self) -> str | None:
        """`tip` for a program without an event loop."""
        return in_own_loop(self.tip())

    def turns_sync(self) -> tuple[SessionTurn, ...]:
        """`turns` for a program without an event loop."""
        return in_own_loop(self.turns())

    def abandon(self) -> None:
        """Give up a run that was not finished; what its tools did stays done. A session that waits for results of its
        calls still wants a rollback before its next run. Raises JournalError, OSError.
        """
        with self.journal.opened():
            self.journal.write(Ended("abandoned"))

    def is_unfinished(self) -> bool:
        """Whether the journal holds a run that has no end. Raises JournalError, OSError."""
        with self.journal.opened():
            return bool(self.journal.records)

    def _asked(self) -> Model:
        if self.model is None:
            self.model = Client()
        return self.model
