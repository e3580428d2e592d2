"""Random lives of many sessions against a plain model: dicts that say what each tenant would see.

Every rule does the same to both and compares what they answer; restarts of the process are among the rules.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from espalier.sessions import Completion, Draft, Idempotency, Sessions
from espalier.sessions.errors import (
    BusyError,
    IdempotencyConflictError,
    NotFoundError,
    SessionError,
    TurnEndedError,
    TurnMismatchError,
)
from tests.sessions.conftest import Clock, assistant, user

T = TypeVar("T")
TENANTS = st.sampled_from(["a", "a", "a", "b"])
KEYS = st.none() | st.sampled_from(["k1", "k2"])
BODIES = st.sampled_from([b"one", b"two"])
BRANCHES = st.sampled_from(["rollback", "fork"])
TTL_S = 100.0
MEMORY = Path("/dev/shm")


@dataclass
class ModelTurn:
    """A turn as the model knows it: `history` are the texts up to it, that one's included."""

    session: str
    parent: str | None
    text: str
    state: str = "running"
    answer: str = ""
    key: str | None = None
    is_deleted: bool = False


@dataclass
class ModelSession:
    tenant: str
    head: str | None = None
    base: str | None = None
    used_at: float = 0.0
    turns: list[str] = field(default_factory=list)

    def running(self, turns: dict[str, ModelTurn]) -> str | None:
        return next((turn for turn in self.turns if turns[turn].state == "running"), None)


class Lives(RuleBasedStateMachine):
    """The machine; `refs` hold ids of sessions and turns, also of those that are gone."""

    sessions_ = Bundle("sessions")
    turns_ = Bundle("turns")

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a folder: here it is not the disk that is tested.
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.sessions = self.run(Sessions.open(self.folder, clock=self.clock, ttl_s=TTL_S))
        self.model: dict[str, ModelSession] = {}
        self.turns: dict[str, ModelTurn] = {}
        self.number = 0

    def teardown(self) -> None:
        self.run(self.sessions.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def outcome(self, work: Coroutine[Any, Any, T]) -> T | type[SessionError]:
        try:
            return self.run(work)
        except SessionError as error:
            return type(error)

    # The model.

    def alive(self, tenant: str, session_id: str) -> ModelSession | None:
        found = self.model.get(session_id)
        if found is None or found.tenant != tenant:
            return None
        expired = found.running(self.turns) is None and self.clock.now - found.used_at >= TTL_S
        return None if expired else found

    def path(self, turn_id: str | None) -> list[str]:
        found: list[str] = []
        while turn_id is not None:
            found.append(turn_id)
            turn_id = self.turns[turn_id].parent
        return found[::-1]

    def texts(self, turn_id: str | None) -> list[str]:
        return [text for turn in self.path(turn_id) for text in (self.turns[turn].text, self.turns[turn].answer)]

    def is_member(self, session_id: str, turn_id: str) -> bool:
        session, turn = self.model[session_id], self.turns.get(turn_id)
        if turn is None or turn.state != "complete":
            return False
        return turn.session == session_id or turn_id == session.head or turn_id in self.path(session.base)

    def key_turn(self, tenant: str, key: str) -> str | None:
        return next(
            (
                turn_id
                for turn_id, turn in self.turns.items()
                if turn.key == key and self.alive(tenant, turn.session) is not None
            ),
            None,
        )

    def remove_turns(self, session_id: str) -> None:
        """What only this session continues goes; the rest is its heirs'."""
        kept: dict[str, str] = {}
        for heir, other in sorted(self.model.items()):
            for turn in self.path(other.base) if heir != session_id else ():
                if self.turns[turn].session == session_id:
                    kept.setdefault(turn, heir)
        for turn in self.model.pop(session_id).turns:
            if turn in kept:
                self.turns[turn].session = kept[turn]
                self.model[kept[turn]].turns.append(turn)
            else:
                del self.turns[turn]

    # What is done to both.

    @rule(target=sessions_, tenant=TENANTS)
    def create(self, tenant: str) -> str:
        session = self.run(self.sessions.create(tenant))
        self.model[session.id] = ModelSession(tenant, used_at=self.clock.now)
        return session.id

    @rule(
        target=turns_,
        tenant=TENANTS,
        session_id=sessions_,
        key=KEYS,
        body=BODIES,
        branch=BRANCHES,
        at=turns_ | st.none(),
    )
    def begin(self, tenant: str, session_id: str, key: str | None, body: bytes, branch: Any, at: str | None) -> Any:
        self.number += 1
        text = f"{body!r} {self.number}"
        known = self.model.get(session_id)
        head = known.head if known is not None else None
        parent = at if branch == "fork" and at is not None else head
        idempotency = None if key is None else Idempotency(key, body)
        draft = Draft(parent, head, (user(text),), idempotency=idempotency, request=body)
        expected = self.expect_begin(tenant, session_id, draft, branch)
        got = self.outcome(self.sessions.begin(tenant, session_id, draft, branch=branch))
        if isinstance(got, type):
            assert got is expected
            return multiple()
        if got.is_replay:
            assert got.turn.id == expected
            return multiple()
        assert expected is None
        if got.session.id != session_id:
            assert branch == "fork"
            self.model[got.session.id] = ModelSession(tenant, head=parent, base=parent, used_at=self.clock.now)
        session = self.model[got.session.id]
        session.used_at = self.clock.now
        session.turns.append(got.turn.id)
        self.turns[got.turn.id] = ModelTurn(got.session.id, parent, text, key=key)
        return got.turn.id

    def expect_begin(self, tenant: str, session_id: str, draft: Draft, branch: str) -> Any:
        """The error, or the turn that is replayed, or None."""
        if draft.idempotency is not None:
            known = self.key_turn(tenant, draft.idempotency.key)
            if known is not None and self.turns[known].text.startswith(repr(draft.idempotency.body_digest)):
                return known
            if known is not None:
                return IdempotencyConflictError
        session = self.alive(tenant, session_id)
        if session is None or (draft.parent is not None and not self.is_member(session_id, draft.parent)):
            return NotFoundError
        return BusyError if session.running(self.turns) and branch == "rollback" else None

    @rule(tenant=TENANTS, session_id=sessions_, ref=turns_)
    def begin_on_condition(self, tenant: str, session_id: str, ref: str) -> None:
        session = self.alive(tenant, session_id)
        if session is None or session.head == ref:
            return
        draft = Draft(session.head, session.head, ())
        got = self.outcome(self.sessions.begin(tenant, session_id, draft, if_match=ref))
        assert got is TurnMismatchError

    @rule(tenant=TENANTS, turn_id=turns_)
    def complete(self, tenant: str, turn_id: str) -> None:
        turn = self.turns.get(turn_id)
        expected: Any = None
        if turn is None or self.model[turn.session].tenant != tenant:
            expected = NotFoundError
        elif turn.state != "running":
            expected = TurnEndedError
        answer = f"answer to {turn_id}"
        got = self.outcome(self.sessions.complete(tenant, turn_id, Completion(assistant(answer), (1,), "stop", b"x")))
        if expected is not None or turn is None:
            assert got is expected
            return
        turn.state, turn.answer = "complete", answer
        session = self.model[turn.session]
        session.head, session.used_at = turn_id, self.clock.now

    @rule(tenant=TENANTS, turn_id=turns_)
    def interrupt(self, tenant: str, turn_id: str) -> None:
        turn = self.turns.get(turn_id)
        got = self.outcome(self.sessions.interrupt(tenant, turn_id))
        if turn is None or self.model[turn.session].tenant != tenant:
            assert got is NotFoundError
        elif turn.state == "running":
            turn.state, turn.key = "interrupted", None
            self.model[turn.session].used_at = self.clock.now
        if turn is not None and not isinstance(got, type):
            assert got.state == turn.state

    @rule(tenant=TENANTS, session_id=sessions_, to=turns_ | st.none())
    def rollback(self, tenant: str, session_id: str, to: str | None) -> None:
        session = self.alive(tenant, session_id)
        got = self.outcome(self.sessions.rollback(tenant, session_id, to=to))
        if session is None or (to is not None and not self.is_member(session_id, to)):
            assert got is NotFoundError
        elif session.running(self.turns):
            assert got is BusyError
        else:
            assert not isinstance(got, type)
            session.head, session.used_at = to, self.clock.now

    @rule(target=sessions_, tenant=TENANTS, session_id=sessions_, at=turns_ | st.none())
    def fork(self, tenant: str, session_id: str, at: str | None) -> Any:
        session = self.alive(tenant, session_id)
        got = self.outcome(self.sessions.fork(tenant, session_id, at=at))
        if session is None or (at is not None and not self.is_member(session_id, at)):
            assert got is NotFoundError
            return multiple()
        assert not isinstance(got, type)
        head = session.head if at is None else at
        self.model[got.id] = ModelSession(tenant, head=head, base=head, used_at=self.clock.now)
        return got.id

    @rule(tenant=TENANTS, session_id=consumes(sessions_))
    def delete(self, tenant: str, session_id: str) -> None:
        known = self.model.get(session_id)
        got = self.outcome(self.sessions.delete(tenant, session_id))
        if known is None or known.tenant != tenant:
            assert got is NotFoundError
            return
        assert not isinstance(got, type)
        before = set(self.turns)
        self.remove_turns(session_id)
        assert set(got.turn_ids) == before - set(self.turns)

    @rule(seconds=st.sampled_from([1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        expired = [name for name, one in self.model.items() if self.alive(one.tenant, name) is None]
        assert set(self.run(self.sessions.sweep()).session_ids) == set(expired)
        for session_id in expired:
            self.remove_turns(session_id)

    @rule()
    def restart(self) -> None:
        self.run(self.sessions.close())
        self.sessions = self.run(Sessions.open(self.folder, clock=self.clock, ttl_s=TTL_S))
        for turn in self.turns.values():
            if turn.state == "running":
                turn.state, turn.key = "interrupted", None
                self.model[turn.session].used_at = self.clock.now

    # What both say afterwards.

    @invariant()
    def histories_are_those_of_the_model(self) -> None:
        for session_id, known in self.model.items():
            for tenant in ("a", "b"):
                got = self.outcome(self.sessions.path(tenant, session_id))
                if self.alive(tenant, session_id) is None:
                    assert got is NotFoundError
                    continue
                assert not isinstance(got, type)
                assert got.session.running == known.running(self.turns)
                assert [turn.id for turn in got.turns] == self.path(known.head)
                assert [message["content"] for message in got.messages()] == self.texts(known.head)

    @invariant()
    def lists_hold_what_the_model_has(self) -> None:
        for tenant in ("a", "b"):
            got = self.run(self.sessions.list(tenant, limit=1000)).items
            assert {one.id for one in got} == {name for name in self.model if self.alive(tenant, name)}


def test_sessions_live_as_the_model_says() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))


@pytest.mark.slow
def test_many_sessions_live_as_the_model_says() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=1000, stateful_step_count=60, deadline=None))
