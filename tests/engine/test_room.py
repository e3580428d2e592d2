"""Who may start, and who has to make way for it: sessions of one tenant and of two, in a pool that is too small."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.engine.messages import Generate, Hold, SamplingParams
from espalier.engine.room import BLOCKED_S, Room
from espalier.engine.scheduler import Limits, Scheduler
from espalier.engine.sequence import Sequence
from espalier.radix import Root
from espalier.radix.lease import STINT

WAITS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


class Crowd:
    """A scheduler in which one request always runs, so that others have to wait for room."""

    def __init__(self, num_slots: int, **changes: object) -> None:
        chosen: dict[str, object] = {"lease_tokens": num_slots, "patience_s": 1000.0}
        self.scheduler = Scheduler(Limits(num_slots, 2000, 8, 512, **(chosen | changes)))  # type: ignore[arg-type]
        runs = self.sequence("runs", range(90_000, 90_002), tenant="z")
        runs.max_len = 1000
        self.scheduler.add(runs)
        self.scheduler.advance(self.scheduler.schedule(0))

    def sequence(
        self, name: str, prompt: range, *, tenant: str = "a", now_s: float = 0.0, is_group: bool = False
    ) -> Sequence:
        params = SamplingParams(max_tokens=1)
        request = Generate(name, list(prompt), params, tenant=tenant, session=name, is_group=is_group)
        return Sequence(request, max_len=len(prompt) + 1, seed=0, arrival=0, now_s=now_s)

    def ask(self, name: str, prompt: range, now_s: float, *, tenant: str = "a") -> Sequence:
        """A request that begins to wait, and is looked at once."""
        asked = self.sequence(name, prompt, tenant=tenant, now_s=now_s)
        self.scheduler.add(asked)
        self.scheduler.schedule(now_s)
        return asked

    def turn(self, name: str, prompt: range, now_s: float = 0.0, *, tenant: str = "a", is_group: bool = False) -> None:
        """A turn from its arrival to its end, after which a tool runs."""
        asked = self.sequence(name, prompt, tenant=tenant, now_s=now_s, is_group=is_group)
        self.scheduler.add(asked)
        while asked.length < asked.max_len:
            plan = self.scheduler.schedule(now_s)
            assert plan, "no room"
            self.scheduler.advance(plan)
            for work in plan:
                if work.wants_logits and work.sequence is asked:
                    asked.append(7)
        self.scheduler.finish(asked)
        self.scheduler.tips.hold(Hold(name, WAITS, ttl_s=600), now_s)
        self.scheduler.check()

    def held(self, prompt: range, tenant: str) -> int:
        """How much of a prompt is in the tree."""
        ids = np.array(prompt, dtype=np.int32)
        return len(self.scheduler.tree.match(Root(tenant, ""), ids, 1.0).slots)


def test_a_warm_session_that_needs_little_grows_into_what_its_tenants_other_sessions_hold() -> None:
    crowd = Crowd(312)
    crowd.turn("s", range(150))
    crowd.turn("t", range(1000, 1150))
    assert crowd.ask("s", range(170), 1).row >= 0
    assert crowd.scheduler.tips.num_leases == 1


def test_a_warm_session_that_needs_much_waits_like_others() -> None:
    crowd = Crowd(1000)
    crowd.turn("b", range(5000, 5300), tenant="b")
    crowd.turn("t", range(20_000, 20_250))
    crowd.turn("u", range(30_000, 30_250))
    crowd.turn("s", range(10))
    assert crowd.ask("s", range(810), 1).row < 0
    assert crowd.scheduler.tips.num_leases == 4


def test_a_session_does_not_grow_into_what_another_tenant_holds() -> None:
    crowd = Crowd(312)
    crowd.turn("b", range(5000, 5150), tenant="b")
    crowd.turn("s", range(150))
    assert crowd.ask("s", range(170), 1).row < 0
    assert crowd.held(range(5000, 5150), "b") == 150


def test_a_request_that_only_begins_like_a_session_does_not_grow_in_its_place() -> None:
    crowd = Crowd(312)
    crowd.turn("s", range(150))
    crowd.turn("t", range(1000, 1150))
    crowd.scheduler.tips.fork("s", "other")
    assert crowd.ask("other", range(170), 1).row < 0
    assert crowd.scheduler.tips.num_leases == 2


def test_leases_over_a_tenants_budget_keep_no_free_room_from_sessions_that_return() -> None:
    crowd = Crowd(1000, lease_tokens=800, tenant_lease_tokens=400)
    crowd.turn("b", range(5000, 5200), tenant="b")
    crowd.scheduler.tips.release("b")
    crowd.turn("flood", range(7000, 7950), tenant="b")
    crowd.scheduler.tips.drop("flood")
    for number in range(12):
        begin = 10_000 * (1 + number % 3)
        crowd.turn(f"a{number % 3}", range(begin, begin + 150 + number), 1 + 0.1 * number)
    returns = crowd.ask("b", range(5000, 5201), 3, tenant="b")
    assert returns.evicted_tokens > 50
    assert returns.row >= 0


def test_a_group_has_its_stint_like_a_session() -> None:
    crowd = Crowd(400)
    for number in range(STINT):
        crowd.turn("group", range(100 + number), is_group=True)
    crowd.turn("s", range(1000, 1150))
    crowd.turn("t", range(2000, 2100))
    crowd.scheduler.tips.release("t")
    crowd.turn("s", range(1000, 1250), 1)
    returns = crowd.ask("t", range(2000, 2101), 1)
    assert returns.evicted_tokens > 50
    assert returns.row >= 0
    assert crowd.scheduler.tips.num_leases == 1
    assert crowd.scheduler.tips.totals.demoted == 1


def test_a_session_that_has_to_wait_for_a_stint_is_not_matched_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(262)
    crowd.turn("t", range(1000, 1100))
    crowd.scheduler.tips.release("t")
    crowd.turn("s", range(200))
    returns = crowd.ask("t", range(1000, 1101), 1)
    assert returns.row < 0
    looked: list[str] = []
    claim = Room.claim

    def seen(room: Room, sequence: Sequence, matched: int, now_s: float, *, is_patient: bool) -> bool:
        looked.append(sequence.request_id)
        return claim(room, sequence, matched, now_s, is_patient=is_patient)

    monkeypatch.setattr(Room, "claim", seen)
    for number in range(10):
        crowd.scheduler.schedule(1 + number * BLOCKED_S / 20)
    assert looked == []
    crowd.scheduler.schedule(1 + BLOCKED_S)
    assert looked == ["t"]
