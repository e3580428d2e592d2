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

    def fits(self, sequence: Sequence, matched: int, now_s: float, *, is_patient: bool) -> bool:
        """Whether there are slots for it now.

        Who is not patient gets those of leases and of other tenants' shares. So does a session that holds its place: it
        grows as it would if it ran.
        """
        if self.limits.admission == "worst_case":
            missing, promised = (
                sequence.max_len - matched,
                sum(other.max_len - other.num_slots for other in self.running),
            )
        else:
            # One token to spare for each that decodes, so that admission is not undone by the next step.
            missing = sequence.length - matched
            promised = sum(max(other.length - other.num_slots, 1) for other in self.running)
        if not is_patient or self.tips.holds(sequence.request.session, matched):
            return missing <= self.slots.num_free + self.tree.num_tokens - self.tree.num_locked - promised
        left = self._unheld(sequence.request.tenant) - promised
        if not (sequence.request.session and sequence.evicted_tokens > RETURN * sequence.length):
            return missing <= left
        if missing <= left - self.tips.set_aside:
            return True
        return self.tips.give_way(sequence.request.tenant, missing + max(0, -left), now_s)

    def is_blocked(self, sequence: Sequence, now_s: float) -> bool:
        """Whether it is known without matching it that a patient request still finds no room."""
        if now_s - sequence.blocked_at >= BLOCKED_S or not self.running or not self.is_patient(sequence, now_s):
            return False
        return self._unheld(sequence.request.tenant) < sequence.lacked

    def is_patient(self, sequence: Sequence, now_s: float) -> bool:
        """Whether it has not waited too long yet."""
        return now_s - sequence.arrived_s < self.limits.patience_s

    def _unheld(self, tenant: str) -> int:
        return self.slots.num_free + self.tree.shares.room(tenant)
