"""Who gives up slots when they run out, so that one tenant's flood can't cool another.

Each tenant that was active lately has the same share of the pool. What a tenant holds above its share goes first, from
the one that is furthest above; what lies within a share goes only for a request that could not run otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from espalier.radix.account import ABANDONED, Account
from espalier.radix.policy import LeastRecent, Policy

IDLE_S = 300.0


@dataclass(slots=True)
class Shares:
    """The accounts of all tenants. `capacity` is the pool's size in tokens; without it there are no shares."""

    capacity: int | None = None
    policy: Policy = field(default_factory=LeastRecent)
    idle_s: float = IDLE_S
    accounts: dict[Hashable, Account] = field(default_factory=dict)
    now: float = 0.0

    def of(self, tenant: Hashable, now: float) -> Account:
        """The account of a tenant, who is active now."""
        self.now = max(self.now, now)
        account = self.accounts.get(tenant)
        if account is None:
            account = self.accounts[tenant] = Account(tenant, self.policy, now)
        account.last_used = now
        return account

    def close(self, account: Account) -> None:
        """Forget a tenant that has nothing left."""
        if not account.num_roots:
            self.accounts.pop(account.tenant, None)

    def room(self, tenant: Hashable) -> int:
        """Tokens that may be evicted for a new request of this tenant: its own, and what others have over a share."""
        if self.capacity is None or len(self.accounts) < 2:
            return sum(account.num_evictable for account in self.accounts.values())
        share = self._share(tenant)
        room = 0
        for account in self.accounts.values():
            over = account.num_held if account.tenant == tenant else self._over(account, share)
            room += max(0, min(account.num_evictable, over))
        return room

    def victim(self, tenant: Hashable = None) -> Account | None:
        """Whose leaf goes next, when slots are wanted for `tenant`."""
        if len(self.accounts) == 1:
            (account,) = self.accounts.values()
            return account if account.num_evictable else None
        candidates = [account for account in self.accounts.values() if account.num_evictable]
        if not candidates:
            return None
        share = self._share(tenant)
        return min(candidates, key=lambda account: self._rank(account, share, tenant))

    def _rank(self, account: Account, share: int, tenant: Hashable) -> tuple[bool, float, bool, float]:
        over = self._over(account, share)
        is_other = self.capacity is not None and account.tenant != tenant
        return (account.lowest != ABANDONED, -max(over, 0), is_other, account.lowest)

    def _over(self, account: Account, share: int) -> int:
        """Tokens above the account's share; one that is idle has none."""
        if self.capacity is None:
            return 0
        return account.num_held - (share if self._is_active(account) else 0)

    def _share(self, tenant: Hashable) -> int:
        if self.capacity is None:
            return 0
        others = sum(self._is_active(account) for account in self.accounts.values() if account.tenant != tenant)
        return self.capacity // (others + 1)

    def _is_active(self, account: Account) -> bool:
        return self.now - account.last_used <= self.idle_s
