"""Decides what each step computes, and who holds which slots. Imports no torch: tested by hand-written traces.

Decode tokens come first, and with them those that grammars forced, then chunks of prompts up to the budget, oldest
first; but those that are through in this step may take half of it ahead of longer ones: a warm turn does not wait until
a cold one is computed. A waiting request that shares a longer prefix with a prompt now being computed than with the
tree sits out until that prefix is there: it is computed once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from espalier.engine.loading import Loading
from espalier.engine.messages import Forget, Fork, Hold, Release, SessionNote
from espalier.engine.options import Eviction
from espalier.engine.placement import Placement
from espalier.engine.room import Room
from espalier.engine.sequence import Sequence
from espalier.engine.slots import SlotAllocator
from espalier.engine.tier import LowerTiers
from espalier.engine.tips import Tips
from espalier.engine.work import Limits, Totals, Work
from espalier.radix import LeaseBudget, LeastRecent, LeastValue, Policy, PrefixTree, RecomputeCost, Root
from espalier.radix.run import EMPTY, common_prefix_len

__all__ = ["Limits", "Scheduler", "Totals", "Work"]

POLICIES: dict[Eviction, Policy] = {"value": LeastValue(), "lru": LeastRecent()}
MIN_CHUNK = 16
"""Prompt tokens that a step takes even when decode tokens fill its budget, so that nobody waits for ever."""
MIN_SHARED = 16
"""Fewer shared tokens than this are not worth waiting for."""
GHOSTS = 4
"""So many times the pool's tokens are remembered by their ids when they are gone, to tell why a prompt missed."""
LOAD_WAIT_S = 0.002
"""An engine that has nothing to compute waits so long at a time for state that is being loaded."""
LONG_S = 0.1
"""A waiting request that was too long to go ahead of others is not matched for that again for so long."""
MAX_LOOK = 64
"""Waiting requests looked at in one step."""


@dataclass(slots=True)
class Scheduler:
    """Waiting and running requests, the slots and the tree."""

    limits: Limits
    tree: PrefixTree = field(init=False)
    tips: Tips = field(init=False)
    tiers: LowerTiers | None = None
    loading: Loading | None = None
    waiting: deque[Sequence] = field(default_factory=deque)
    running: list[Sequence] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    slots: SlotAllocator = field(init=False)
    room: Room = field(init=False)
    placement: Placement = field(init=False)
    _now: float = 0.0
    _blocked_at: float | None = None
    """When it was last seen that somebody waits for room."""
    _seats: int = 0
    """Requests that the batch may still take: a static one is made up once, in as many steps as its prompts need."""

    def __post_init__(self) -> None:
        self.slots = SlotAllocator(self.limits.num_slots)
        limits = self.limits
        policy = POLICIES[limits.eviction]
        self.tree = PrefixTree(capacity=limits.num_slots, policy=policy, ghost_tokens=GHOSTS * limits.num_slots)
        tenant_tokens = limits.lease_tokens if limits.tenant_lease_tokens is None else limits.tenant_lease_tokens
        self.tips = Tips(self.tree, LeaseBudget(limits.lease_tokens, tenant_tokens), limits.num_slots, RecomputeCost())
        self.room = Room(limits, self.slots, self.tree, self.tips, self.running)
        self.placement = Placement(limits, self.slots, self.tree)

    def attach(self, tiers: LowerTiers) -> None:
        """Save the ends of sessions' turns in lower tiers, and look for prefixes there, too."""
        self.tiers, self.loading = tiers, Loading(tiers, self.tree, self.slots)
        self.tips.load_s = tiers.seconds

    def add(self, sequence: Sequence) -> None:
        """Queue a request."""
        self.waiting.append(sequence)
        self.tips.arrive(sequence.request.session)

    def schedule(self, now_s: float) -> list[Work]:
        """The work of the next step; slots for it are taken."""
        self._now = now_s
        self.expire(now_s)
        if self.loading is not None:
            # With nothing else to do there is time to wait for it.
            is_idle = not self.running and not self.waiting
            self.waiting.extendleft(reversed(self.loading.settle(now_s, LOAD_WAIT_S if is_idle else 0.0)))
        if self.limits.batching == "continuous" or not self.running:
            self._seats = self.limits.max_running
        decoding: list[Sequence] = []
        under_way: list[Sequence] = []
        for sequence in self.running:
            (decoding if sequence.is_decoding else under_way).append(sequence)
        plan = self._decodes(decoding)
        budget = max(self.limits.step_tokens - sum(work.end - work.begin for work in plan), MIN_CHUNK)
        if any(sequence.row >= 0 for sequence in under_way):
            budget -= self._admit_short(plan, budget // 2, now_s)
        budget -= self._prefills(plan, under_way, budget)
        # Who was preempted on the way has no slots any more, and may be started anew below.
        plan = [work for work in plan if work.sequence.row >= 0]
        if not self._admit(plan, budget, now_s):
            self._seats = 0
        return self._with_drafts(plan) if any(work.sequence.drafts for work in plan) else plan

    def reserve(self) -> None:
        """Give those that decode the slot of their next token, if there are enough: a device computes meanwhile."""
        self._extend_all(
            [
                (sequence, sequence.length + 1)
                for sequence in self.running
                if sequence.is_decoding and sequence.num_slots == sequence.length < sequence.max_len
            ]
        )

    def advance(self, plan: list[Work]) -> None:
        """The plan was computed: note it, and let others share the prompts."""
        for work in plan:
            work.sequence.num_computed = work.certain_end
            self.totals.drafted_tokens += len(work.drafts)
            self.totals.computed_tokens += work.end - work.begin
            if work.begin < work.sequence.prompt_len and self.limits.prefix_cache:
                self.placement.share(work.sequence, self._now)

    def confirm(self, work: Work) -> int:
        """Take the drafts that came as they were guessed for computed; returns how many did."""
        sequence, begin = work.sequence, work.certain_end
        count = common_prefix_len(np.array(work.drafts, dtype=np.int32), sequence.ids(begin, sequence.length))
        self.totals.confirmed_tokens += begin + count - sequence.num_computed
        sequence.num_computed = begin + count
        return count

    def step_back(self, sequence: Sequence) -> None:
        """Compute a sequence's last token again, a draft that came."""
        sequence.num_computed -= 1
        self.totals.confirmed_tokens -= 1

    def finish(self, sequence: Sequence, *, keep: bool = True, is_turn: bool = True) -> None:
        """Take a sequence out, wherever it is; what it computed stays in the tree unless `keep` is false.

        If it came to its end, `is_turn`, that is its session's new tip.
        """
        session, retention = sequence.request.session, sequence.request.retention
        self.tips.leave(session, self._now)
        if sequence.row < 0:
            if self.loading is not None:
                self.loading.cancel(sequence)
            self.waiting = deque(other for other in self.waiting if other is not sequence)
            return
        self.running.remove(sequence)
        node = self.placement.release(sequence, self._now, keep=keep)
        if node is not None and keep and is_turn:
            self.tips.finish(session, node, self._now, is_group=sequence.request.is_group)
            if self.tiers is not None and (session or retention.keep_s is not None):
                self.tiers.save(node, sequence.root, self._now, retention)

    def note(self, note: SessionNote, now_s: float) -> NDArray[np.int32]:
        """Heed what is told of a session; returns slots whose content was deleted."""
        match note:
            case Hold():
                self.tips.hold(note, now_s)
            case Release():
                self.tips.release(note.session)
            case Fork():
                self.tips.fork(note.session, note.other)
            case Forget():
                self.tips.drop(note.session)
                root, token_ids = Root(note.tenant, note.cache_salt), np.array(note.token_ids, dtype=np.int32)
                if self.tiers is not None:
                    self.tiers.forget(root, token_ids, now_s)
                freed = self.tree.forget(root, token_ids, now_s)
                self.slots.give(freed)
                return freed
        return EMPTY

    def expire(self, now_s: float) -> None:
        """End leases that are over, and what lower tiers have kept for its time."""
        self.tips.expire(now_s)
        if self.tiers is not None:
            self.tiers.expire(now_s)

    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running and not self.loading

    def check(self) -> None:
        """Raise AssertionError unless every slot is free, in the tree, or one sequence's own."""
        self.tree.check()
        own = [self.placement.own(sequence) for sequence in self.running]
        if self.loading is not None:
            own.append(self.loading.slots())
        everything = np.concatenate([self.slots.free_slots(), self.tree.slots(), *own])
        assert np.array_equal(np.sort(everything), np.arange(self.limits.num_slots)), "slots leaked or shared"
        assert self.placement.num_rows + len(self.running) == self.limits.max_running

    def _decodes(self, decoding: list[Sequence]) -> list[Work]:
        """One token of each sequence that decodes, and of what was forced beside as much as the budget holds."""
        room = max(self.limits.step_tokens - len(decoding), 0)
        plan: list[Work] = []
        for sequence in decoding:
            begin = sequence.num_computed
            end = min(sequence.length, begin + 1 + room)
            room -= end - begin - 1
            plan.append(Work(sequence, begin, end))
        if self._extend_all([(work.sequence, work.end) for work in plan if work.end > work.sequence.num_slots]):
            return plan
        # While the plan is made, sequences at its end may be preempted for those before them.
        return [work for work in plan if work.sequence.row >= 0 and self._extend(work.sequence, work.end)]

    def _prefills(self, plan: list[Work], under_way: list[Sequence], budget: int) -> int:
        used = 0
        for sequence in under_way:
            if budget - used <= 0:
                break
            if sequence.row >= 0:
                used += self._chunk(plan, sequence, budget - used)
        return used

    def _chunk(self, plan: list[Work], sequence: Sequence, budget: int) -> int:
        end = min(sequence.length, sequence.num_computed + budget)
        if end <= sequence.num_computed or not self._extend(sequence, end):
            return 0
        plan.append(Work(sequence, sequence.num_computed, end))
        return end - sequence.num_computed

    def _with_drafts(self, plan: list[Work]) -> list[Work]:
        """Guesses of what comes next, in what the step and the free slots have left: nobody makes way for them."""
        room = self.limits.step_tokens - sum(work.end - work.begin for work in plan)
        spare = self.slots.num_free - len(self.running)  # each may need one in the next step
        drafting: list[Work] = []
        for work in plan:
            sequence = work.sequence
            own = sequence.num_slots - work.end
            count = max(0, min(len(sequence.drafts) if work.wants_logits else 0, room, own + max(0, spare)))
            if count and self._extend(sequence, work.end + count):
                room -= count
                spare -= max(0, count - own)
                drafts = tuple(draft.token for draft in sequence.drafts[:count])
                work = Work(sequence, work.begin, work.end + count, drafts)
            drafting.append(work)
        return drafting

    def _extend(self, sequence: Sequence, length: int) -> bool:
        """Give a sequence slots up to `length`; others are preempted for it, the youngest first, at last itself."""
        need = length - sequence.num_slots
        while need > 0 and not self.room.make(need, sequence.request.tenant, self._now):
            victim = self.running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        if need > 0:
            self._count_growth(sequence, length)
            self.placement.extend(sequence, length)
        return True

    def _extend_all(self, growing: list[tuple[Sequence, int]]) -> bool:
        """Give each sequence slots up to a length that it lacks, if as many are free."""
        if sum(length - sequence.num_slots for sequence, length in growing) > self.slots.num_free:
            return False
        if self.tips.has_aside:
            for sequence, length in growing:
                self._count_growth(sequence, length)
        self.placement.extend_all(growing)
        return True

    def _count_growth(self, sequence: Sequence, length: int) -> None:
        self.tips.grow(sequence.request.tenant, length - max(sequence.num_slots, sequence.known_len))

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.placement.release(sequence, self._now, keep=True)
        sequence.preemptions += 1
        self.totals.preemptions += 1
        self.waiting.appendleft(sequence)

    def _admit_short(self, plan: list[Work], budget: int, now_s: float) -> int:
        """Start waiting sequences that are through in this step, ahead of those under way; returns tokens used."""
        used = 0
        looked: list[Sequence] = []
        while self.waiting and used < budget and self.placement.num_rows and self._seats and len(looked) < MAX_LOOK:
            # Nobody passes one that has waited too long.
            if not self.room.is_patient(self.waiting[0], now_s):
                break
            sequence = self.waiting.popleft()
            looked.append(sequence)
            if now_s - sequence.long_at < LONG_S or self.room.is_blocked(sequence, now_s):
                continue
            slots = self.placement.match(sequence, now_s)
            missing = sequence.length - len(slots)
            if missing <= budget - used and self._may_pass(sequence, len(slots), now_s):
                looked.pop()
                used += self._start(plan, sequence, slots, budget - used)
                continue
            self.placement.let_go(sequence)
            if missing > budget:
                sequence.long_at = now_s
        self.waiting.extendleft(reversed(looked))
        return used

    def _may_pass(self, sequence: Sequence, matched: int, now_s: float) -> bool:
        return not self._is_computed_soon(sequence, matched) and self.room.claim(
            sequence, matched, now_s, is_patient=True
        )

    def _admit(self, plan: list[Work], budget: int, now_s: float) -> bool:
        """Start waiting sequences; returns whether, as things are, the next step could start more.

        One that finds no room lets those behind it pass for a while: who has its prompt in the tree needs little.
        """
        looked: list[Sequence] = []
        fits = True
        while self.waiting and budget > 0 and self.placement.num_rows and self._seats and len(looked) < MAX_LOOK:
            sequence = self.waiting.popleft()
            looked.append(sequence)
            if self.room.is_blocked(sequence, now_s):
                fits = False
                continue
            slots = self.placement.match(sequence, now_s)
            if self._is_computed_soon(sequence, len(slots)):
                self.placement.let_go(sequence)
                continue
            is_patient = self.room.is_patient(sequence, now_s)
            # Where nothing runs, there is nothing to be patient for.
            if not self.room.claim(sequence, len(slots), now_s, is_patient=is_patient and bool(self.running)):
                self.placement.let_go(sequence)
                fits = False
                if not is_patient:
                    break
                continue
            looked.pop()
            if self._is_brought_up(sequence, len(slots), now_s):
                continue
            budget -= self._start(plan, sequence, slots, budget)
        self.waiting.extendleft(reversed(looked))
        if not fits and self._blocked_at is not None:
            self.tips.block(now_s - self._blocked_at, now_s)
        self._blocked_at = None if fits else now_s
        return fits and bool(self.waiting)

    def _is_brought_up(self, sequence: Sequence, matched: int, now_s: float) -> bool:
        """Whether more of its prompt is now loaded from a lower tier, because that is faster than computing it."""
        if self.tiers is None or self.loading is None or sequence.has_looked_down:
            return False
        sequence.has_looked_down = True
        found = self.tiers.find(sequence.root, sequence.ids(0, sequence.length - 1), matched, now_s)
        if found is None:
            return False
        count = found.end - matched
        if found.seconds >= self.tips.cost.seconds(matched, found.end):
            sequence.missed_cause = "demoted"
            return False
        if not self.room.make(count, sequence.request.tenant, now_s):
            return False
        self.loading.begin(found, sequence, self.slots.take(count), now_s)
        return True

    def _is_computed_soon(self, sequence: Sequence, matched: int) -> bool:
        if not self.limits.prefix_cache:
            return False
        return any(
            leader.root == sequence.root
            and not leader.is_decoding
            and common_prefix_len(leader.ids(0, leader.length), sequence.ids(0, sequence.length - 1))
            >= matched + MIN_SHARED
            for leader in (*self.running, *(self.loading.sequences() if self.loading else ()))
        )

    def _start(self, plan: list[Work], sequence: Sequence, slots: NDArray[np.int32], budget: int) -> int:
        """Let it run, and compute a first chunk of up to `budget` tokens; returns how many."""
        self.placement.start(sequence, slots)
        if sequence.cached_tokens < 0:
            matched = len(slots)
            sequence.cached_tokens, sequence.first_admitted_s = matched, self._now
            self.totals.prompt_tokens += sequence.prompt_len
            self.totals.cached_tokens += matched
            self.totals.loaded_tokens += sequence.loaded_tokens
            self.totals.evicted_tokens += sequence.evicted_tokens
            self.tips.miss(sequence.evicted_tokens, matched, self._now)
        self.running.append(sequence)
        self._seats -= 1
        return self._chunk(plan, sequence, budget)
