"""What the scheduler knows of the tiers below the device: where a prefix lies, and what bringing it up takes.

Imports no torch. `engine.tiers.Tiers` keeps attention state in host memory and on disk; without lower tiers the
scheduler has none.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from espalier.engine.messages import Retention
from espalier.radix import Node, Root
from espalier.radix.run import Ids

Tier = Literal["host", "disk"]


class Found(NamedTuple):
    """The first `end` tokens of a prompt lie in `tier`; bringing up those that the device lacks takes `seconds`."""

    tier: Tier
    end: int
    seconds: float


class LowerTiers(Protocol):
    """State that is not on the device. Whatever takes time runs beside the step loop; `poll` tells what is done."""

    def save(self, node: Node, root: Root, now: float, retention: Retention) -> None:
        """Copy the path to `node` down, as far as it isn't there yet; the node is locked meanwhile."""
        ...

    def expire(self, now: float) -> None:
        """Remove what has been kept for its time."""
        ...

    def find(self, root: Root, token_ids: Ids, begin: int, now: float) -> Found | None:
        """The tier with the longest prefix of these tokens, if it is longer than the device's `begin`."""
        ...

    def load(self, found: Found, root: Root, token_ids: Ids, slots: Ids, now: float) -> int:
        """Begin to bring up the last tokens of those found into these device slots; returns a ticket."""
        ...

    def seconds(self, num_tokens: int) -> float:
        """What bringing up so many tokens takes at best."""
        ...

    def poll(self, wait_s: float = 0.0) -> dict[int, bool]:
        """The tickets that are done, and whether their slots are right now; waits that long if none is."""
        ...

    def forget(self, root: Root, token_ids: Ids, now: float) -> None:
        """Remove this path, ids and state, as far as no other has it."""
        ...
