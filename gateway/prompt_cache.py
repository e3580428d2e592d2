"""What a request wishes of the cache: whom it begins like, and how long its state may be kept. As OpenAI's API says it.

`prompt_cache_key` groups requests that begin alike: what one of them ended with is saved and held as a session's tip
is. `prompt_cache_retention` says what becomes of it: "in_memory" is never written to disk, "24h" is kept for a day, in
whatever tier has room, and no longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from espalier.engine.messages import Retention
from espalier.gateway.wire.requests import CacheRetention

DAY_S = 86400.0
_RETENTIONS: dict[CacheRetention | None, Retention] = {
    None: Retention(),
    "in_memory": Retention(to_disk=False),
    "in-memory": Retention(to_disk=False),
    "24h": Retention(keep_s=DAY_S),
}


@dataclass(frozen=True, slots=True)
class PromptCache:
    """The two fields of a request; "" is no key."""

    key: str = ""
    retention: CacheRetention | None = None

    @property
    def wanted(self) -> Retention:
        """As the engine is told it."""
        return _RETENTIONS[self.retention]

    def group(self, tenant: str) -> str:
        """What the engine calls the tenant's requests of this key, "" without one. No session is called so.

        A session's name is the tenant, one slash and an id; tenants and ids have none.
        """
        return f"{tenant}//{self.key}" if self.key else ""


NO_WISH = PromptCache()
