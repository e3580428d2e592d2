"""What room there is for a request, and who gives up theirs for it. Imports no torch.

Where sessions want more than there is, they take turns: one that comes in runs a stint before the return of another may
put it out, and what was put out so that others can grow is left to them. Else each return puts out a session that is
about to return itself, and everything is computed again and again.
"""

from __future__ import annotations

from dataclasses import dataclass

from espalier.engine.sequence import Sequence
from espalier.engine.slots import SlotAllocator
from espalier.engine.tips import Tips
from espalier.engine.work import Limits
from espalier.radix import PrefixTree

BLOCKED_S = 0.1
"""Who found no room is not matched again for so long, unless there is as much room as it lacked."""
SPARE = 32
"""A little more is evicted than needed: one eviction then serves several steps."""
NEVER = 2**62
"""More slots than there will be: who lacks them is not looked at before its time."""
RETURN = 0.25
"""A session returns from having been put out when more than this part of its prompt was."""


@dataclass(frozen=True, slots=True)
class Room:
    """The slots of the pool: free, in the tree, and those of `running`, the scheduler's own list."""

    limits: Limits
    slots: SlotAllocator
    tree: PrefixTree
    tips: Tips
    running: list[Sequence]

    def make(self, need: int, tenant: str, now_s: float) -> bool:
        """Free as many slots for this tenant; sessions give up their leases for it, if it must be."""
        while self.slots.num_free < need:
            gone = self.tree.evict(need - self.slots.num_free + SPARE, tenant)
            for run in gone:
                self.slots.give(run.slots)
            if not gone and not self.tips.make_room(now_s):
                return False
        return True

    def claim(self, sequence: Sequence, matched: int, now_s: float, *, is_patient: bool) -> bool:
        """Whether a sequence that was matched may start now; leases that have to make way for it are ended.

        Who is not patient gets the slots of leases and of other tenants' shares. A session that holds its place and
        needs little gets those of its tenant's other sessions: it grows as it would if it ran.
        """
        missing, promised = self._wanted(sequence, matched)
        if not is_patient:
            return missing <= self.slots.num_free + self.tree.num_tokens - self.tree.num_locked - promised
        tenant = sequence.request.tenant
        left = self._unheld(tenant) - promised
        if _is_return(sequence):
            may_start = missing <= left - self.tips.aside(tenant, now_s)
            may_start = may_start or self.tips.make_way_for_return(tenant, missing + max(0, -left), now_s)
            lacked = NEVER
        else:
            may_start = missing <= left or self._may_grow(sequence, matched, missing, missing - left, now_s)
            lacked = missing
        if not may_start:
            sequence.blocked_at, sequence.lacked = now_s, lacked
        return may_start

    def is_blocked(self, sequence: Sequence, now_s: float) -> bool:
        """Whether it is known without matching it that a patient request still finds no room."""
        if now_s - sequence.blocked_at >= BLOCKED_S or not self.running or not self.is_patient(sequence, now_s):
            return False
        return self._unheld(sequence.request.tenant) < sequence.lacked

    def is_patient(self, sequence: Sequence, now_s: float) -> bool:
        """Whether it has not waited too long yet."""
        return now_s - sequence.arrived_s < self.limits.patience_s

    def _wanted(self, sequence: Sequence, matched: int) -> tuple[int, int]:
        """Slots that it needs, and those that are promised to others."""
        if self.limits.admission == "worst_case":
            return sequence.max_len - matched, sum(other.max_len - other.num_slots for other in self.running)
        # One token to spare for each that decodes, so that admission is not undone by the next step.
        return sequence.length - matched, sum(max(other.length - other.num_slots, 1) for other in self.running)

    def _may_grow(self, sequence: Sequence, matched: int, missing: int, lacking: int, now_s: float) -> bool:
        request, node = sequence.request, sequence.node
        assert node is not None, "it was not matched"
        if missing > min(matched, self.limits.step_tokens) or not self.tips.holds(request.session, node):
            return False
        return self.tips.make_way_for_growth(request.session, request.tenant, lacking, now_s)

    def _unheld(self, tenant: str) -> int:
        return self.slots.num_free + self.tree.shares.room(tenant)


def _is_return(sequence: Sequence) -> bool:
    return bool(sequence.request.session) and sequence.evicted_tokens > RETURN * sequence.length
