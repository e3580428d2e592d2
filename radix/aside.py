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
        """So many tokens were given up for growth."""
        self._of[tenant] = self.of(tenant, now) + num_tokens, now + LAPSES_S

    def take(self, tenant: Hashable, num_tokens: int) -> None:
        """The tenant grew by so many tokens."""
        count, until = self._of.get(tenant, (0, 0.0))
        if count > num_tokens:
            self._of[tenant] = count - max(0, num_tokens), until
        else:
            self._of.pop(tenant, None)

    def of(self, tenant: Hashable, now: float) -> int:
        """Tokens that are set aside."""
        count, until = self._of.get(tenant, (0, 0.0))
        if now >= until:
            self._of.pop(tenant, None)
            return 0
        return count
