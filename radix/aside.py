"""Room that is left to those who grow: what a tenant's leases gave up because there was no other room.

Else a session that was put out would come in there at once, and the next growth would put out another.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

LAPSES_S = 30.0
"""Room that nobody grows into for so long is free for all again."""


@dataclass(slots=True)
class Aside:
    """Tokens set aside of each tenant's, until it lapses or is grown into."""

    _of: dict[Hashable, tuple[int, float]] = field(default_factory=dict)

    def add(self, tenant: Hashable, num_tokens: int, now: float) -> None:
        """So many tokens were given up for growth. None change nothing, nor when it lapses."""
        if num_tokens > 0:
            self._of[tenant] = self.of(tenant, now) + num_tokens, now + LAPSES_S

    def __bool__(self) -> bool:
        return bool(self._of)

    def take(self, tenant: Hashable, num_tokens: int) -> None:
        """The tenant grew by so many tokens, if by any."""
        if num_tokens <= 0 or tenant not in self._of:
            return
        count, until = self._of.pop(tenant)
        if count > num_tokens:
            self._of[tenant] = count - num_tokens, until

    def of(self, tenant: Hashable, now: float) -> int:
        """Tokens that are set aside."""
        count, until = self._of.get(tenant, (0, 0.0))
        if now < until:
            return count
        self._of.pop(tenant, None)
        return 0
