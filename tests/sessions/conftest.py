"""Sessions in a folder of the test's own, and turns of a few tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from espalier.sessions import Completion, Draft, Idempotency, JsonObject, Sessions, Turn


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """The sessions under test, and what a caller does with them."""

    sessions: Sessions
    clock: Clock
    folder: Path

    async def begin(self, session_id: str, text: str = "hi", *, tenant: str = "a", **more: object) -> Turn:
        """Open a turn that follows the head."""
        path = await self.sessions.path(tenant, session_id)
        tip = path.tip
        draft = Draft(
            parent=path.session.head,
            seen_head=path.session.head,
            messages=(user(text),),
            kept_len=0 if tip is None else tip.context_len,
            prompt_ids=(1, 2),
            **more,  # type: ignore[arg-type]
        )
        return (await self.sessions.begin(tenant, session_id, draft)).turn

    async def say(self, session_id: str, text: str = "hi", *, tenant: str = "a", **more: object) -> Turn:
        """A whole turn, answered by `re: text`."""
        turn = await self.begin(session_id, text, tenant=tenant, **more)
        answer = Completion(assistant(f"re: {text}"), (3, 4, 5), "stop", b"answer", (b"one", b"two"))
        return await self.sessions.complete(tenant, turn.id, answer)

    async def texts(self, session_id: str, tenant: str = "a") -> list[object]:
        """What the session's history says."""
        path = await self.sessions.path(tenant, session_id)
        return [message["content"] for message in path.messages()]

    async def reopened(self) -> World:
        """The same sessions in the next process."""
        await self.sessions.close()
        self.sessions = await Sessions.open(self.folder, clock=self.clock)
        return self


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


def assistant(text: str) -> JsonObject:
    return {"role": "assistant", "content": text}


def key(text: str = "key", body: str = "body") -> Idempotency:
    return Idempotency(text, body.encode())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(tmp_path: Path, clock: Clock) -> AsyncIterator[World]:
    world = World(await Sessions.open(tmp_path / "sessions", clock=clock), clock, tmp_path / "sessions")
    yield world
    await world.sessions.close()
